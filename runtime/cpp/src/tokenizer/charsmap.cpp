#include "tokenizer/charsmap.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "unicode/clusters.h"
#include "unicode/transform.h"

namespace attn {
namespace {

constexpr size_t short_cluster = 6;   // bytes
constexpr size_t longest_text = 256;  // bytes that one becomes; a real one has 54

std::string from_base64(const std::string& text) {
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  uint32_t bits = 0;
  size_t letters = 0, padding = 0;
  for (const char c : text) {
    uint32_t value = 0;
    if (c >= 'A' && c <= 'Z') {
      value = static_cast<uint32_t>(c - 'A');
    } else if (c >= 'a' && c <= 'z') {
      value = static_cast<uint32_t>(c - 'a' + 26);
    } else if (c >= '0' && c <= '9') {
      value = static_cast<uint32_t>(c - '0' + 52);
    } else if (c == '+' || c == '/') {
      value = c == '+' ? 62 : 63;
    } else if (c == '=') {
      ++padding;
    } else {
      throw std::invalid_argument("is no base64");
    }
    if (c != '=' && padding) throw std::invalid_argument("is no base64");
    bits = bits << 6 | value;
    if (++letters % 4 == 0) {
      for (const unsigned shift : {16U, 8U, 0U}) bytes += static_cast<char>(bits >> shift & 0xFF);
    }
  }
  if (letters % 4 || padding > 2) throw std::invalid_argument("is no base64");
  bytes.resize(bytes.size() - padding);
  return bytes;
}

uint32_t unit_at(const std::string& bytes, size_t place) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value |= static_cast<uint32_t>(static_cast<unsigned char>(bytes[place + i])) << 8 * i;
  return value;
}

size_t offset_of(uint32_t unit) { return static_cast<size_t>(unit >> 10) << ((unit & 1U << 9) >> 6); }

}  // namespace

Charsmap::Charsmap(const std::string& base64) {
  const std::string bytes = from_base64(base64);
  const size_t size = bytes.size() < 4 ? 0 : unit_at(bytes, 0);
  if (!size || size % 4 || size > bytes.size() - 4) throw std::invalid_argument("is cut or no charsmap");
  for (size_t i = 0; i < size / 4; ++i) units_.push_back(unit_at(bytes, 4 + 4 * i));
  texts_ = bytes.substr(4 + size);
  if (!is_utf8(texts_)) throw std::invalid_argument("becomes texts that are no UTF-8");
  for (size_t begin = 0; begin < texts_.size();) {
    const size_t end = std::min(texts_.find('\0', begin), texts_.size());
    if (end - begin > longest_text) throw std::invalid_argument("makes a text of more than 256 bytes out of one");
    begin = end + 1;
  }
}

std::optional<std::string_view> Charsmap::find(std::string_view bytes) const {
  size_t place = offset_of(units_[0]);
  for (const char letter : bytes) {
    const auto byte = static_cast<unsigned char>(letter);
    place ^= byte;
    if (!byte || place >= units_.size()) break;
    const uint32_t unit = units_[place];
    if ((unit & (1U << 31 | 0xFFU)) != byte) break;
    place ^= offset_of(unit);
    if (!(unit >> 8 & 1)) continue;
    const size_t begin = place < units_.size() ? units_[place] & ~(1U << 31) : texts_.size();
    // In the middle of a character or behind the end: nobody's charsmap.
    if (begin >= texts_.size() || (static_cast<unsigned char>(texts_[begin]) & 0xC0) == 0x80) break;
    const std::string_view rest = std::string_view(texts_).substr(begin);
    return rest.substr(0, rest.find('\0'));
  }
  return std::nullopt;
}

void Charsmap::apply(Characters& text) const {
  std::vector<Change> changes;
  changes.reserve(text.size());
  bool changed = false;
  std::string bytes;
  // Whether characters [begin, end) of the text, which are in `bytes`, become something else.
  const auto replaced = [&](size_t begin, size_t end) {
    const auto found = find(bytes);
    if (!found) return false;
    const std::u32string made = code_points(*found);
    const size_t before = end - begin, kept = std::min(before, made.size());
    for (size_t i = 0; i < made.size(); ++i) changes.push_back({made[i], i < kept ? 0 : 1});
    // What is taken away goes with what stands in front of it, be that of this cluster or not.
    if (before > kept && !changes.empty()) changes.back().change -= static_cast<int>(before - kept);
    changed = true;
    return true;
  };
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = cluster_end(text, begin);
    bytes.clear();
    for (size_t i = begin; i < end && bytes.size() < short_cluster; ++i) append_utf8(bytes, text[i].value);
    if (bytes.size() >= short_cluster || !replaced(begin, end)) {
      for (size_t i = begin; i < end; ++i) {
        bytes.clear();
        append_utf8(bytes, text[i].value);
        if (!replaced(i, i + 1)) changes.push_back({text[i].value, 0});
      }
    }
    begin = end;
  }
  if (changed) transform(text, changes);
}

}  // namespace attn
