#include "tokenizer/models/word_piece.h"

#include "util/error.h"

namespace attn {

WordPiece::WordPiece(Vocabulary vocabulary, const std::string& unknown, const std::string& prefix, size_t most)
    : Model(std::move(vocabulary)), unknown_(this->vocabulary().find(unknown)), continuing_(this->vocabulary().all()), most_(most) {
  this->vocabulary().narrow(continuing_, prefix);
}

void WordPiece::encode_word(const Word& word, std::vector<Piece>& pieces) const {
  const size_t count = word.characters();
  for (size_t begin = 0; begin < count && count <= most_;) {
    Vocabulary::Range range = begin ? continuing_ : vocabulary().all();
    Vocabulary::Place place = Vocabulary::none;
    size_t end = begin;
    for (size_t at = begin; at < count && !range.empty(); ++at) {
      vocabulary().narrow(range, word.bytes(at, at + 1));
      if (const Vocabulary::Place whole = vocabulary().whole(range); whole != Vocabulary::none) {
        place = whole;
        end = at + 1;
      }
    }
    if (place == Vocabulary::none) {
      pieces.clear();
      break;
    }
    pieces.push_back({vocabulary().token(place), static_cast<uint32_t>(begin), static_cast<uint32_t>(end)});
    begin = end;
  }
  if (!pieces.empty()) return;
  if (unknown_ == Vocabulary::none) throw bundle_error("WordPiece error: Missing [UNK] token from the vocabulary");
  pieces.push_back({vocabulary().token(unknown_), 0, static_cast<uint32_t>(count)});
}

}  // namespace attn
