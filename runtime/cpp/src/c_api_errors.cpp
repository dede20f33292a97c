#include <exception>
#include <new>

#include "c_api.h"

namespace attn {
namespace {

struct LastError {
  std::string message, details;
  const char* fixed = nullptr;  // told instead of them, where there was no memory to keep any text
};

thread_local LastError last;

}  // namespace

void clear_error() noexcept {
  last.message.clear();
  last.details.clear();
  last.fixed = nullptr;
}

int keep_error() noexcept {
  try {
    try {
      throw;
    } catch (const Error& error) {
      last.message = error.what();
      last.details = error.details;
      return error.status;
    } catch (const std::bad_alloc&) {
      last.fixed = "out of memory; close other programs, or use smaller sizes";
    } catch (const std::exception& error) {
      last.message = std::string("internal error: ") + error.what() + "; this is a bug, please report it";
    } catch (...) {
      last.fixed = "internal error of an unknown kind; this is a bug, please report it";
    }
  } catch (...) {
    last.fixed = "out of memory; close other programs, or use smaller sizes";
  }
  return ATTN_ERROR_INTERNAL;
}

}  // namespace attn

extern "C" {

int attn_abi_version(void) { return ATTN_ABI_VERSION; }

const char* attn_version(void) { return ATTN_VERSION; }

const char* attn_last_error(void) { return attn::last.fixed ? attn::last.fixed : attn::last.message.c_str(); }

const char* attn_last_error_details(void) { return attn::last.details.c_str(); }

const char* attn_dtype_name(attn_dtype dtype) { return attn::name_of(dtype); }

size_t attn_dtype_bytes(attn_dtype dtype) { return attn::size_of(dtype); }

}  // extern "C"
