// Functions of the caller's that the library calls.
#pragma once

#include <exception>
#include <string>
#include <utility>

#include "util/error.h"

namespace attn {

// What `call()` returns. A C++ program's function may throw, which is no fault of this library: usage_error with what was thrown.
template <typename Call>
auto called_back(const char* name, Call&& call) {
  std::string thrown = "something that is no std::exception";
  try {
    return std::forward<Call>(call)();
  } catch (const std::exception& error) {
    thrown = error.what();
  } catch (...) {
  }
  throw usage_error("the callback " + std::string(name) + " threw: " + thrown +
                    "; expected it to return: catch in it what it can throw, or use runtime.hpp, which throws it on to the caller");
}

}  // namespace attn
