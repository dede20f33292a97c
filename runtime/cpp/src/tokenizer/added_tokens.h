// Words that are looked for in a text before it is split: those of a chat template, special ones, those that a fine-tuning added.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "tokenizer/models/model.h"
#include "tokenizer/parts.h"

namespace attn {

class AddedTokens {
 public:
  AddedTokens() = default;
  // `value`: added_tokens of tokenizer.json, where words that are to be normalized are found as `normalizer`, which may be null, makes them.
  // Raises bundle_error, opened by `where`.
  AddedTokens(const Json& value, const Vocabulary& vocabulary, const Normalizer* normalizer, const std::string& where);

  // The characters [begin, end) of a text, and the token that they are; -1 for what is in between.
  struct Piece {
    size_t begin, end;
    int64_t token;
  };
  // A text as it was given, cut at the words that are looked for there; `normalized`, as it was normalized, at the others.
  std::vector<Piece> cut(const Characters& text, bool normalized) const;

  // How a token is written; nullptr where it is none of these.
  const std::string* word(int64_t token) const;
  // Whether what is written so is left out of an answer.
  bool is_special(const std::string& word) const { return special_.count(word) > 0; }

 private:
  struct Added {
    int64_t token;
    bool single_word, left, right;  // left, right: takes the spaces there along
  };
  struct Words {
    Vocabulary words;          // whose tokens count the entries of `added`
    std::vector<Added> added;
  };

  Words as_given_, as_normalized_;
  std::map<int64_t, std::string> written_;
  std::set<std::string> special_;
};

}  // namespace attn
