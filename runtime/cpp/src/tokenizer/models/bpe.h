#pragma once

#include <string>

#include "tokenizer/models/model.h"

namespace attn {

struct BpeOptions {
  std::optional<std::string> unknown;  // the word for characters that are in none; without one they are left out
  std::string prefix, suffix;          // of each character but the first, of the last one
  bool fuse_unknown = false;           // unknown characters side by side are one token
  bool byte_fallback = false;
  bool ignore_merges = false;  // a word of the vocabulary is a token, whatever the merges make of it
};

// Two words of the vocabulary that become one, as places.
struct Merge {
  Vocabulary::Place left, right, made;
};

// Byte-pair encoding: the letters of a word are merged pair by pair, the earliest merge first, the leftmost of equals. Follows "Neural Machine
// Translation of Rare Words with Subword Units", Sennrich et al. 2016, as `tokenizers` has it.
class Bpe : public Model {
 public:
  // `merges` in their order; of equal pairs the last one counts.
  Bpe(Vocabulary vocabulary, const std::vector<Merge>& merges, BpeOptions options);

 private:
  struct Right {
    Vocabulary::Place right, made;
    uint32_t rank;
  };
  struct Symbol;

  void encode_word(const Word& word, std::vector<Piece>& pieces) const override;
  std::vector<Symbol> symbols_of(const Word& word) const;
  void merge(std::vector<Symbol>& symbols) const;
  const Right* merge_of(Vocabulary::Place left, Vocabulary::Place right) const;

  BpeOptions options_;
  Vocabulary::Place unknown_ = Vocabulary::none;
  std::vector<Vocabulary::Place> bytes_;
  std::vector<uint32_t> begins_;  // of the merges of each left word in `rights_`
  std::vector<Right> rights_;
};

}  // namespace attn
