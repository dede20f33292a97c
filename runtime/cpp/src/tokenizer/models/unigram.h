#pragma once

#include "tokenizer/models/model.h"

namespace attn {

// The most probable way to cut a word into those of the vocabulary (SentencePiece; XLM-R, T5). Follows "Subword Regularization", Kudo 2018, as
// `tokenizers` has it: a character that is in no word costs 10 more than the least probable one, and unknown ones side by side are one token.
class Unigram : public Model {
 public:
  // `scores`: the logarithm of each token's probability, by token; `unknown`: its token, where there is one.
  Unigram(Vocabulary vocabulary, std::vector<double> scores, std::optional<uint32_t> unknown, bool byte_fallback);

 private:
  void encode_word(const Word& word, std::vector<Piece>& pieces) const override;
  // Of characters [begin, end), which no word has.
  void add_unknown(const Word& word, uint32_t begin, uint32_t end, std::vector<Piece>& pieces) const;

  std::vector<double> scores_;
  double unknown_score_;
  std::optional<uint32_t> unknown_;
  std::vector<Vocabulary::Place> bytes_;  // empty without byte fallback
};

}  // namespace attn
