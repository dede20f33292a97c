// assets/tokenizer.json, in the format of Hugging Face's tokenizers: as much of it as models of whole words need. What is beyond that is
// refused when it is read, so that no text gets other tokens here than in Python.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/parts.h"

namespace attn {

class Tokenizer {
 public:
  // Raises bundle_error, opened by `where`.
  Tokenizer(const Json& value, const std::string& where);

  struct Found {
    int64_t token;
    size_t begin, end;  // the characters of the text that it stands for
  };
  std::vector<Found> encode(const std::u32string& text) const;
  // Without special tokens, and without those that it does not know.
  std::string decode(const std::vector<int64_t>& tokens) const;
  // As much of the beginning of that as no further token changes.
  std::string decode_beginning(const std::vector<int64_t>& tokens) const;

 private:
  void read_model(const Json& whole);
  void read_added(const Json& whole);
  void add_words(Characters text, std::vector<Found>& found) const;
  std::vector<std::string> words_of(const std::vector<int64_t>& tokens) const;
  std::string put_together(const std::vector<std::string>& words) const;
  [[noreturn]] void refuse(const std::string& problem) const;

  std::string where_;
  std::map<std::string, int64_t> tokens_;  // a hash table would be at the mercy of whoever chose the words
  std::map<int64_t, std::string> words_;
  std::string unknown_;
  // Words that are looked for before anything else: by their first character, the longest first.
  std::map<char32_t, std::vector<std::pair<std::u32string, int64_t>>> added_;
  std::set<int64_t> special_;
  std::unique_ptr<Normalizer> normalizer_;
  std::unique_ptr<PreTokenizer> pre_tokenizer_;
  std::unique_ptr<Decoder> decoder_;
};

}  // namespace attn
