// One exception for what is the input's, the machine's or the model's fault; it never leaves the library.
#pragma once

#include <attn/runtime.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace attn {

class Error : public std::runtime_error {
 public:
  Error(attn_status status, const std::string& message, std::string details = "")
      : std::runtime_error(message), status(status), details(std::move(details)) {}

  attn_status status;
  std::string details;  // a printable table of several lines, or nothing
};

inline Error usage_error(const std::string& message) { return {ATTN_ERROR_USAGE, message}; }
inline Error parity_error(const std::string& message, std::string details) { return {ATTN_ERROR_PARITY, message, std::move(details)}; }
inline Error input_error(const std::string& message) { return {ATTN_ERROR_INPUT, message}; }
inline Error bundle_error(const std::string& message) { return {ATTN_ERROR_BUNDLE, message}; }
inline Error backend_error(const std::string& message) { return {ATTN_ERROR_BACKEND, message}; }
inline Error engine_error(const std::string& message) { return {ATTN_ERROR_ENGINE, message}; }
// What a library that was built without generators and texts says when it is asked for them.
inline Error left_out_error() {
  return backend_error("this libattn_runtime was built without generators, texts and transcription; build it with -DATTN_GENERATION=ON for them");
}

}  // namespace attn
