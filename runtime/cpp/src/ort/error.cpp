#include "ort/error.h"

#include <algorithm>
#include <cctype>
#include <initializer_list>

#include "util/text.h"

namespace attn {
namespace {

bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

bool has_any_case(const std::string& text, const std::string& part) {
  const auto same = [](unsigned char a, unsigned char b) { return std::tolower(a) == std::tolower(b); };
  return std::search(text.begin(), text.end(), part.begin(), part.end(), same) != text.end();
}

// What of an error that opening raises is the GPU's and its libraries' fault, and not the file's.
bool of_the_gpu(const std::string& line) {
  for (const char* part : {"CUDA", "cuDNN", "cuBLAS", "TensorRT", "EP_FAIL", "ProviderLibrary", "out of memory"}) {
    if (has_any_case(line, part)) return true;
  }
  return false;
}

// Cut "/onnxruntime_src/FILE:LINE FUNCTION(ARGUMENTS) const " out of a line, as often as it occurs.
void cut_places(std::string& text) {
  for (size_t from = 0; (from = text.find("/onnxruntime_src/", from)) != std::string::npos;) {
    const size_t open = text.find('(', from);
    const size_t close = open == std::string::npos ? open : text.find_first_of("()", open + 1);
    if (close == std::string::npos || text[close] != ')' || close + 1 >= text.size()) return;
    size_t end = close + 1;
    if (text.compare(end, 7, " const ") == 0) end += 6;
    if (text[end] == ' ') {
      text.erase(from, end + 1 - from);
    } else {
      from = end;
    }
  }
}

const char* name_of(OrtErrorCode code) {
  switch (code) {
    case ORT_OK: return "SUCCESS";
    case ORT_FAIL: return "FAIL";
    case ORT_INVALID_ARGUMENT: return "INVALID_ARGUMENT";
    case ORT_NO_SUCHFILE: return "NO_SUCHFILE";
    case ORT_NO_MODEL: return "NO_MODEL";
    case ORT_ENGINE_ERROR: return "ENGINE_ERROR";
    case ORT_RUNTIME_EXCEPTION: return "RUNTIME_EXCEPTION";
    case ORT_INVALID_PROTOBUF: return "INVALID_PROTOBUF";
    case ORT_MODEL_LOADED: return "MODEL_LOADED";
    case ORT_NOT_IMPLEMENTED: return "NOT_IMPLEMENTED";
    case ORT_INVALID_GRAPH: return "INVALID_GRAPH";
    case ORT_EP_FAIL: return "EP_FAIL";
    default: return "ERROR";  // of a newer library
  }
}

}  // namespace

std::string OrtFailure::line() const {
  std::string told = text;
  cut_places(told);
  return one_line(std::string(name_of(code)) + " : " + told);
}

Error explain_open(const OrtFailure& failure, const std::string& where, const std::string& name, const std::string& device) {
  const std::string text = failure.line();
  if (device != "cpu" && of_the_gpu(text)) {
    return backend_error(where + ": ONNX Runtime can't use " + device + ": " + text + ". See attn-run doctor.");
  }
  if (failure.code == ORT_NOT_IMPLEMENTED) {
    return backend_error(where + ": ONNX Runtime has no kernel for a node of this graph on " + device + ": " + text);
  }
  return bundle_error(where + ": ONNX Runtime can't load " + name + ": " + text + ". Export it again.");
}

Error explain_run(const OrtFailure& failure, const std::string& where, const std::string& device) {
  if (has(failure.text, "pre-allocated output") || has(failure.text, "shape verification failed")) {
    return input_error(where + ": an output's shape follows from the values, and these give another than the bound one. "
                               "Call run instead of bind.");
  }
  const std::string text = failure.line();
  if (failure.code == ORT_INVALID_ARGUMENT || has(text, "out of data bounds")) {
    return input_error(where + ": the graph refuses these values or sizes: " + text);
  }
  return backend_error(where + ": ONNX Runtime failed on " + device + ": " + text);
}

}  // namespace attn
