#include "util/text.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "util/unicode.h"

namespace attn {
namespace {

// As the manifest's schema has it, and attn_runtime/escape.py.
bool is_acted_on(char32_t value) {
  return value < 0x20 || (value >= 0x7F && value < 0xA0) || (value >= 0x2028 && value <= 0x202E) || (value >= 0x2066 && value <= 0x2069);
}

}  // namespace

std::string printable(std::string_view text, size_t limit) {
  constexpr char32_t replacement = 0xFFFD;
  std::u32string values;
  if (is_utf8(text)) {
    values = code_points(text);
  } else {
    for (const char byte : text) values += static_cast<unsigned char>(byte) < 0x80 ? static_cast<char32_t>(byte) : replacement;
  }
  for (char32_t& value : values) {
    if (is_acted_on(value)) value = replacement;
  }
  if (values.size() <= limit) return to_utf8(values);
  return to_utf8(values.substr(0, limit)) + "...";
}

std::string printable_lines(std::string_view text) {
  std::string lines;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    if (begin) lines += '\n';
    lines += printable(text.substr(begin, end - begin), text.size());
    begin = end + 1;
  }
  return lines;
}

std::string shown(const std::string& text, size_t limit) {
  return cut(nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace), limit);
}

std::string shown(const std::vector<std::string>& texts) {
  return cut(nlohmann::json(texts).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace), 80);
}

std::string cut(const std::string& text, size_t limit) {
  return text.size() <= limit ? text : text.substr(0, limit) + "... (" + std::to_string(text.size()) + " characters)";
}

std::string quoted(const std::string& word) {
  constexpr char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./-_";
  if (!word.empty() && word.find_first_not_of(plain) == word.npos) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? "'\\''" : std::string(1, c);
  return text + "'";
}

std::string one_line(const std::string& report) {
  constexpr size_t longest = 400;
  std::string text;
  bool gap = false;
  for (const char c : report) {
    if (std::isspace(static_cast<unsigned char>(c))) {
      gap = !text.empty();
      continue;
    }
    if (gap) text += ' ';
    gap = false;
    text += std::iscntrl(static_cast<unsigned char>(c)) ? '?' : c;  // it may quote names out of a file
  }
  if (text.size() > longest) return text.substr(0, longest) + "...";
  while (!text.empty() && text.back() == '.') text.pop_back();
  return text;
}

}  // namespace attn
