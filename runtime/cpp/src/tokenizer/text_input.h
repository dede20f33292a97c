// From texts to the tokens that a model takes, and back: by the bundle's assets text.json and tokenizer.json. The Python twin is
// attn_runtime/preprocess/text.py.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bundle/bundle.h"
#include "tokenizer/tokenizer.h"

namespace attn {

class Text {
 public:
  // The tokenizer for `inputs`, those of a graph or a generator that messages call `where`. Raises usage_error where the bundle has none,
  // bundle_error where its assets do not fit.
  static std::shared_ptr<const Text> open(const Bundle& bundle, const std::vector<TensorSpec>& inputs, const std::string& where);
  static bool is_in(const Bundle& bundle);  // whether it has both assets

  // By the names of the graph's inputs: tokens int64 [texts, longest], and where the model takes them mask bool and types int64 of the same
  // shape, padded at the end. With `seconds`, of as many texts, each text is the first of a pair. Raises input_error for a text that is empty,
  // no UTF-8, or of more tokens than the model takes, and for texts of different lengths where it has no mask.
  Tensors encode(const std::vector<std::string>& texts, const std::vector<std::string>* seconds = nullptr) const;
  // The parts of a text that the tokenizer does not know, as they are written there.
  std::vector<std::string> unknown_words(const std::string& text) const;
  // The text of one row of tokens, without special ones (padding, stop).
  std::string decode(const std::vector<int64_t>& tokens) const { return tokenizer_.decode(tokens); }
  std::string decode_beginning(const std::vector<int64_t>& tokens) const { return tokenizer_.decode_beginning(tokens); }

  // Names of inputs; none where the model has no such input.
  const std::string& input() const { return input_; }
  const std::optional<std::string>& mask() const { return mask_; }
  const std::optional<std::string>& types() const { return types_; }

 private:
  Text(const Json& recipe, const Json& tokenizer, Dim length, std::string where);
  Tokenizer::Encoded encoded(const std::string& text, const std::string* second = nullptr) const;
  std::u32string checked(const std::string& text) const;
  std::string allowed() const;

  std::string input_;
  std::optional<std::string> mask_, types_;
  int64_t pad_;
  std::optional<int64_t> unknown_;
  Tokenizer tokenizer_;
  Dim length_;    // how many tokens a text may have, as the graph allows
  size_t most_;   // at most
  std::string where_;
};

}  // namespace attn
