#pragma once

#include "tokenizer/models/model.h"

namespace attn {

// Each word is a token, or unknown.
class WordLevel : public Model {
 public:
  WordLevel(Vocabulary vocabulary, const std::string& unknown);

 private:
  void encode_word(const Word& word, std::vector<Piece>& pieces) const override;

  Vocabulary::Place unknown_;
};

}  // namespace attn
