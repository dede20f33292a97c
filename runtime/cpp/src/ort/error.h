// What an error of ONNX Runtime amounts to. The Python twin is attn_runtime/ort/engine.py.
#pragma once

#include <onnxruntime_c_api.h>

#include <string>

#include "util/error.h"

namespace attn {

struct OrtFailure {
  OrtErrorCode code;
  std::string text;

  std::string line() const;  // "INVALID_ARGUMENT : ...", without places in ONNX Runtime's source
};

// While a graph of `where` is opened from the file `name` on `device`.
Error explain_open(const OrtFailure& failure, const std::string& where, const std::string& name, const std::string& device);
// While it runs.
Error explain_run(const OrtFailure& failure, const std::string& where, const std::string& device);

}  // namespace attn
