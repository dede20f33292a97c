#include "tokenizer/models/model.h"

#include <string_view>

namespace attn {
namespace {

size_t hash(std::string_view word) {
  uint64_t value = 0xcbf29ce484222325;
  for (const char each : word) value = (value ^ static_cast<unsigned char>(each)) * 0x100000001b3;
  return static_cast<size_t>(value ^ (value >> 32));
}

}  // namespace

void Model::encode(const Characters& word, std::vector<Found>& found) const {
  Word made;
  made.text.reserve(word.size());
  made.begins.reserve(word.size() + 1);
  for (const Character& each : word) {
    made.begins.push_back(static_cast<uint32_t>(made.text.size()));
    append_utf8(made.text, each.value);
  }
  made.begins.push_back(static_cast<uint32_t>(made.text.size()));
  const auto add = [&](const std::vector<Piece>& pieces) {
    for (const Piece& each : pieces) found.push_back({each.token, word[each.begin].begin, word[each.end - 1].end});
  };
  const bool short_enough = made.text.size() <= longest_remembered;
  const size_t slot = short_enough ? hash(made.text) % slots : 0;
  // Not waited for: another thread may hold it, or the child of a fork may have it from one.
  if (short_enough) {
    const std::unique_lock<std::mutex> held(mutex_, std::try_to_lock);
    if (held && !remembered_.empty() && remembered_[slot].word == made.text) return add(remembered_[slot].pieces);
  }
  std::vector<Piece> pieces;
  encode_word(made, pieces);
  add(pieces);
  if (!short_enough) return;
  const std::unique_lock<std::mutex> held(mutex_, std::try_to_lock);
  if (!held) return;
  if (remembered_.empty()) remembered_.resize(slots);
  remembered_[slot] = {std::move(made.text), std::move(pieces)};
}

}  // namespace attn
