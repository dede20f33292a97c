#pragma once

#include "tokenizer/models/model.h"

namespace attn {

// The longest beginning of a word that is in the vocabulary, then of its rest, with a prefix in front of it; an unknown word where there is none
// (BERT). Follows "Google's Neural Machine Translation System", Wu et al. 2016, section 4.1, as `tokenizers` has it.
class WordPiece : public Model {
 public:
  // `most`: characters of a word; a longer one is unknown.
  WordPiece(Vocabulary vocabulary, const std::string& unknown, const std::string& prefix, size_t most);

 private:
  void encode_word(const Word& word, std::vector<Piece>& pieces) const override;

  Vocabulary::Place unknown_;
  Vocabulary::Range continuing_;  // the words that begin with the prefix
  size_t most_;
};

}  // namespace attn
