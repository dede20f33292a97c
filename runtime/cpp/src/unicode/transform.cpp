#include "unicode/transform.h"

#include <algorithm>
#include <array>
#include <utility>

namespace attn {

void transform(Characters& text, const std::vector<Change>& changes, size_t removed) {
  if (text.empty()) return;
  Characters made;
  made.reserve(changes.size());
  size_t at = removed;
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
  static const auto letters = [] {
    std::array<char32_t, 256> made{};
    char32_t unseen = 0x100;
    for (size_t byte = 0; byte < made.size(); ++byte) {
      const bool seen = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      made[byte] = seen ? static_cast<char32_t>(byte) : unseen++;
    }
    return made;
  }();
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

}  // namespace attn
