#include "tokenizer/models/word_level.h"

#include "util/error.h"

namespace attn {

WordLevel::WordLevel(Vocabulary vocabulary, const std::string& unknown)
    : Model(std::move(vocabulary)), unknown_(this->vocabulary().find(unknown)) {}

void WordLevel::encode_word(const Word& word, std::vector<Piece>& pieces) const {
  Vocabulary::Place place = vocabulary().find(word.text);
  if (place == Vocabulary::none) place = unknown_;
  if (place == Vocabulary::none) throw bundle_error("WordLevel error: Missing [UNK] token from the vocabulary");
  pieces.push_back({vocabulary().token(place), 0, static_cast<uint32_t>(word.characters())});
}

}  // namespace attn
