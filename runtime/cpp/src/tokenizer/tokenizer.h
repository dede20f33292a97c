// assets/tokenizer.json, in the format of Hugging Face's tokenizers. What is beyond the parts that are known here is refused when it is read, so
// that no text gets other tokens here than in Python.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/parts.h"
#include "tokenizer/post_processors.h"

namespace attn {

class Tokenizer {
 public:
  // Raises bundle_error, opened by `where`.
  Tokenizer(const Json& value, const std::string& where);

  // A token, and the characters [begin, end) of its text that it stands for; none for one that the tokenizer adds.
  using Found = attn::Found;
  // A text, or a pair of them, with the tokens that belong around them.
  struct Encoded {
    std::vector<Found> tokens;
    std::vector<int64_t> types;  // which text of a pair the model takes each token to be of
  };
  std::vector<Found> encode(const std::u32string& text) const { return encode(text, nullptr).tokens; }
  // `second` may be null. Raises bundle_error for a pair where the tokenizer takes none.
  Encoded encode(const std::u32string& text, const std::u32string* second) const;
  // Without special tokens, and without those that it does not know.
  std::string decode(const std::vector<int64_t>& tokens) const;
  // As much of the beginning of that as no further token changes.
  std::string decode_beginning(const std::vector<int64_t>& tokens) const;

 private:
  std::vector<Found> words_of(const std::u32string& text) const;
  void add_words(Characters text, std::vector<Found>& found) const;
  std::vector<std::string> words_of(const std::vector<int64_t>& tokens) const;
  std::string put_together(const std::vector<std::string>& words) const;
  [[noreturn]] void refuse(const std::string& problem) const;

  std::string where_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Normalizer> normalizer_;
  AddedTokens added_;
  std::unique_ptr<PreTokenizer> pre_tokenizer_;
  PostProcessor post_processor_;
  std::unique_ptr<Decoder> decoder_;
};

}  // namespace attn
