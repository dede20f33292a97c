// What an error of ONNX Runtime amounts to, in the words of the Python runtime (attn_runtime/ort_engine.py, backends/ort.py).
#pragma once

#include <onnxruntime_c_api.h>

#include <string>

#include "util/error.h"

namespace attn {

// One line of at most 400 characters, without places in ONNX Runtime's source and without control characters.
std::string one_line(const std::string& said);

struct OrtFailure {
  OrtErrorCode code;
  std::string text;

  std::string line() const;  // "INVALID_ARGUMENT : ...", which is how it reads in Python too
};

// While a graph of `where` is opened from the file `name` on `device`.
Error explain_open(const OrtFailure& failure, const std::string& where, const std::string& name, const std::string& device);
// While it runs.
Error explain_run(const OrtFailure& failure, const std::string& where, const std::string& device);

}  // namespace attn
