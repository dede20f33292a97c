#include "unicode/transform.h"

#include <algorithm>
#include <array>
#include <utility>

namespace attn {
namespace {

// The letter of each byte: printable characters of Latin-1 stand for themselves, U+0100 and on for the others, in their order.
constexpr size_t unseen_count = 68;
constexpr char32_t first_unseen = 0x100;

struct ByteLetters {
  std::array<char32_t, 256> of_byte{};
  std::array<unsigned char, unseen_count> unseen{};  // the bytes that do not stand for themselves

  ByteLetters() {
    size_t count = 0;
    for (size_t byte = 0; byte < of_byte.size(); ++byte) {
      const bool seen = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      if (!seen) unseen[count] = static_cast<unsigned char>(byte);
      of_byte[byte] = static_cast<char32_t>(seen ? byte : first_unseen + count++);
    }
  }
};

const ByteLetters& byte_letters() {
  static const ByteLetters made;
  return made;
}

}  // namespace

void transform(Characters& text, const std::vector<Change>& changes) {
  if (text.empty()) return;
  Characters made;
  made.reserve(changes.size());
  size_t at = 0;
  for (const auto& [value, change] : changes) {
    const size_t from = change > 0 ? (at ? at - 1 : 0) : at;
    const Character& old = text[std::min(from, text.size() - 1)];
    made.push_back({value, old.begin, old.end});
    if (change <= 0) at += static_cast<size_t>(1 - change);
  }
  text = std::move(made);
}

void filter(Characters& text, const std::function<bool(char32_t)>& keep) {
  text.erase(std::remove_if(text.begin(), text.end(), [&](const Character& each) { return !keep(each.value); }), text.end());
}

void prepend(Characters& text, const std::u32string& front) {
  if (text.empty()) return;
  // What is put in stands for the first character, and so does that.
  const Character first = text.front();
  Characters made;
  made.reserve(front.size() + text.size());
  for (const char32_t value : front) made.push_back({value, first.begin, first.end});
  made.insert(made.end(), text.begin(), text.end());
  text = std::move(made);
}

void spell_bytes(Characters& text) {
  const auto& letters = byte_letters().of_byte;
  Characters made;
  made.reserve(text.size());
  std::string bytes;
  for (const Character& each : text) {
    bytes.clear();
    append_utf8(bytes, each.value);
    for (const char byte : bytes) made.push_back({letters[static_cast<unsigned char>(byte)], each.begin, each.end});
  }
  text = std::move(made);
}

std::optional<unsigned char> byte_of_letter(char32_t letter) {
  const ByteLetters& letters = byte_letters();
  if (letter < letters.of_byte.size()) {
    const auto byte = static_cast<unsigned char>(letter);
    return letters.of_byte[byte] == letter ? std::optional(byte) : std::nullopt;
  }
  const char32_t place = letter - first_unseen;
  return place < unseen_count ? std::optional(letters.unseen[place]) : std::nullopt;
}

}  // namespace attn
