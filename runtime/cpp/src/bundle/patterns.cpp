#include "bundle/patterns.h"

#include <algorithm>

namespace attn {
namespace {

bool is_digit(char32_t c) { return c >= '0' && c <= '9'; }
bool is_word(char32_t c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_visible(char32_t c) {
  return c >= 0x20 && !(c >= 0x7F && c <= 0x9F) && !(c >= 0x2028 && c <= 0x202E) && !(c >= 0x2066 && c <= 0x2069);
}

// Behind `shape`, in which a 0 stands for any digit, where `text` goes on with it at `at`; npos otherwise.
size_t behind(const std::u32string& text, size_t at, std::u32string_view shape) {
  if (at > text.size() || text.size() - at < shape.size()) return text.npos;
  for (const char32_t c : shape) {
    if (c == '0' ? !is_digit(text[at]) : text[at] != c) return text.npos;
    ++at;
  }
  return at;
}

// One to `most` digits from `at` to `end`.
bool are_digits(const std::u32string& text, size_t at, size_t end, size_t most) {
  return at < end && end <= text.size() && end - at <= most &&
         std::all_of(text.begin() + static_cast<std::ptrdiff_t>(at), text.begin() + static_cast<std::ptrdiff_t>(end), is_digit);
}

bool is_text(const std::u32string& text) { return std::all_of(text.begin(), text.end(), is_visible); }

bool is_file_name(const std::u32string& text) { return is_text(text) && text.find_first_of(U"/\\") == text.npos; }

bool is_hexadecimal(const std::u32string& text) {
  return std::all_of(text.begin(), text.end(), [](char32_t c) { return is_digit(c) || (c >= 'a' && c <= 'f'); });
}

bool is_identifier(const std::u32string& text) {
  return !text.empty() && is_word(text[0]) &&
         std::all_of(text.begin(), text.end(), [](char32_t c) { return is_word(c) || c == '.' || c == '-'; });
}

bool is_path(const std::u32string& text) {
  bool begins = true;  // a part
  for (const char32_t c : text) {
    if (begins ? !is_word(c) : !is_word(c) && c != '.' && c != '+' && c != '-' && c != '/') return false;
    begins = c == '/';
  }
  return !begins;
}

bool is_time(const std::u32string& text) {
  size_t at = behind(text, 0, U"0000-00-00T00:00:00");
  if (at == text.npos || at == text.size()) return false;
  if (text[at] == '.') {
    const size_t end = text.find_first_of(U"Z+-", at);
    if (end == text.npos || !are_digits(text, at + 1, end, 9)) return false;
    at = end;
  }
  for (const char32_t* zone : {U"Z", U"+00:00", U"-00:00"}) {
    if (behind(text, at, zone) == text.size()) return true;
  }
  return false;
}

bool is_compute_capability(const std::u32string& text) {
  const size_t point = text.find(U'.');
  return point != text.npos && are_digits(text, 0, point, 3) && are_digits(text, point + 1, text.size(), 2);
}

constexpr struct {
  std::string_view pattern;
  PatternCheck check;
} checks[] = {
    {R"(^[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]*$)", is_text},
    {R"(^[^/\\\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]*$)", is_file_name},
    {"^[0-9a-f]*$", is_hexadecimal},
    {"^[A-Za-z0-9_][A-Za-z0-9._-]*$", is_identifier},
    {"^[A-Za-z0-9_][A-Za-z0-9._+-]*(/[A-Za-z0-9_][A-Za-z0-9._+-]*)*$", is_path},
    {"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$", is_time},
    {"^[0-9]{1,3}[.][0-9]{1,2}$", is_compute_capability},
};

}  // namespace

PatternCheck check_of_pattern(std::string_view pattern) {
  for (const auto& each : checks) {
    if (each.pattern == pattern) return each.check;
  }
  return nullptr;
}

}  // namespace attn
