#include <exception>
#include <new>

#include "c_api/errors.h"
#include "util/spec.h"
#include "util/text.h"

namespace attn {
namespace {

constexpr size_t longest = 16384;  // characters of a message: names that it quotes may be of any length, and hold anything

struct LastError {
  std::string message, details;
  const char* fixed = nullptr;  // told instead of them, where there was no memory to keep any text
};

thread_local LastError last;
thread_local std::string last_notes;

}  // namespace

void clear_error() noexcept {
  last.message.clear();
  last.details.clear();
  last.fixed = nullptr;
}

void keep_notes(const std::vector<std::string>& notes) {
  std::string line;
  for (const std::string& note : notes) line += (line.empty() ? "" : "; ") + printable(note, longest);
  last_notes = std::move(line);
}

const char* keep_text(std::string text) {
  static thread_local std::string kept;
  kept = std::move(text);
  return kept.c_str();
}

int keep_error() noexcept {
  clear_error();
  try {
    try {
      throw;
    } catch (const Error& error) {
      last.message = printable(error.what(), longest);
      last.details = printable_lines(error.details);
      return error.status;
    } catch (const std::bad_alloc&) {
      last.fixed = "out of memory; close other programs, or use smaller sizes";
    } catch (const std::exception& error) {
      last.message = "internal error: " + printable(error.what(), longest) + "; this is a bug, please report it";
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

const char* attn_last_notes(void) { return attn::last_notes.c_str(); }

const char* attn_dtype_name(attn_dtype dtype) { return attn::name_of(dtype); }

size_t attn_dtype_bytes(attn_dtype dtype) { return attn::size_of(dtype); }

}  // extern "C"
