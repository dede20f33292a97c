#include "util/unicode.h"

#include <cstdint>

namespace attn {

Characters characters(const std::u32string& text) {
  Characters found;
  found.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) found.push_back({text[i], i, i + 1});
  return found;
}

bool is_white_space(char32_t value) {
  return (value >= 0x9 && value <= 0xD) || value == 0x20 || value == 0x85 || value == 0xA0 || value == 0x1680 ||
         (value >= 0x2000 && value <= 0x200A) || value == 0x2028 || value == 0x2029 || value == 0x202F || value == 0x205F || value == 0x3000;
}

bool is_blank(char32_t value) { return is_white_space(value) || (value >= 0x1C && value <= 0x1F); }

void append_utf8(std::string& text, char32_t value) {
  const auto put = [&](uint32_t byte) { text += static_cast<char>(byte); };
  if (value < 0x80) {
    put(value);
  } else if (value < 0x800) {
    put(0xC0 | value >> 6);
    put(0x80 | (value & 0x3F));
  } else if (value < 0x10000) {
    put(0xE0 | value >> 12);
    put(0x80 | (value >> 6 & 0x3F));
    put(0x80 | (value & 0x3F));
  } else {
    put(0xF0 | value >> 18);
    put(0x80 | (value >> 12 & 0x3F));
    put(0x80 | (value >> 6 & 0x3F));
    put(0x80 | (value & 0x3F));
  }
}

std::string to_utf8(const std::u32string& text) {
  std::string made;
  made.reserve(text.size());
  for (const char32_t value : text) append_utf8(made, value);
  return made;
}

std::string utf8_of(const Characters& text) {
  std::string made;
  made.reserve(text.size());
  for (const Character& each : text) append_utf8(made, each.value);
  return made;
}

std::string replaced(const std::string& text, const std::string& wanted, const std::string& content) {
  std::string made;
  size_t at = 0;
  for (size_t match; !wanted.empty() && (match = text.find(wanted, at)) != std::string::npos; at = match + wanted.size()) {
    made.append(text, at, match - at).append(content);
  }
  return made.append(text, at);
}

namespace {

// Of the bytes from `at` on: how many are a character or the beginning of one, and how many it would have; 0 where none begins so.
std::pair<size_t, size_t> character_at(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(at);
  const size_t length = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
  size_t there = length ? 1 : 0;
  for (; there < length && at + there < text.size(); ++there) {
    unsigned low = 0x80, high = 0xBF;
    if (there == 1) {  // no overlong form, no surrogate, nothing beyond U+10FFFF
      if (lead == 0xE0) low = 0xA0;
      if (lead == 0xED) high = 0x9F;
      if (lead == 0xF0) low = 0x90;
      if (lead == 0xF4) high = 0x8F;
    }
    if (byte(at + there) < low || byte(at + there) > high) break;
  }
  return {there, length};
}

}  // namespace

bool is_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto [there, length] = character_at(text, i);
    if (!length || there < length) return false;
    i += length;
  }
  return true;
}

std::string readable_utf8(std::string_view bytes) {
  std::string made;
  for (size_t i = 0; i < bytes.size();) {
    const auto [there, length] = character_at(bytes, i);
    if (length && there == length) {
      made.append(bytes, i, length);
    } else {
      made += "\uFFFD";
    }
    i += there ? there : 1;
  }
  return made;
}

std::u32string code_points(std::string_view text) {
  std::u32string found;
  found.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    char32_t c = length == 1 ? lead : lead & (0x7Fu >> length);
    for (size_t k = 1; k < length && i + k < text.size(); ++k) {
      c = (c << 6) | (static_cast<unsigned char>(text[i + k]) & 0x3Fu);
    }
    found += c;
    i += length;
  }
  return found;
}

std::string without_ends(const std::string& text) {
  const std::u32string letters = code_points(text);
  size_t begin = 0, end = letters.size();
  while (begin < end && is_blank(letters[begin])) ++begin;
  while (end > begin && is_blank(letters[end - 1])) --end;
  return to_utf8(letters.substr(begin, end - begin));
}

}  // namespace attn
