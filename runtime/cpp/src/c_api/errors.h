// What every function of the C interface needs: no exception leaves it, and the thread's last error is kept.
#pragma once

#include <attn/runtime.h>

#include <string>
#include <utility>
#include <vector>

#include "util/error.h"

namespace attn {

// Keep what the exception that is being handled says for attn_last_error, and return its status. Called in a catch block.
int keep_error() noexcept;
void clear_error() noexcept;

// What attn_last_notes tells in this thread from now on, in one line.
void keep_notes(const std::vector<std::string>& notes);

// `text` where it lies until the thread's next call of this.
const char* keep_text(std::string text);

// Run what a function of the C interface does: `body()` returns nothing, or raises.
template <typename Body>
int guarded(Body&& body) noexcept {
  clear_error();
  try {
    std::forward<Body>(body)();
    clear_error();  // of calls that a callback made meanwhile
    return ATTN_OK;
  } catch (...) {
    return keep_error();
  }
}

// `value`, or usage_error where it is NULL. `what` is the parameter's name.
template <typename T>
T* required(T* value, const char* what) {
  if (!value) throw usage_error(std::string("parameter ") + what + " is NULL; expected a valid pointer");
  return value;
}

}  // namespace attn
