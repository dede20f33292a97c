// What makes tokens of the words that a text was split into.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/models/vocabulary.h"
#include "util/unicode.h"

namespace attn {

// A token, and the characters [begin, end) that it stands for.
struct Found {
  int64_t token;
  size_t begin, end;
};

class Model {
 public:
  virtual ~Model() = default;

  // Appends the tokens of a word that has a character; their characters are those of the text that the word's own stand for. Raises
  // bundle_error where the word has none. May run in several threads at once.
  void encode(const Characters& word, std::vector<Found>& found) const;

  const Vocabulary& vocabulary() const { return vocabulary_; }

 protected:
  // A word in UTF-8, and where each of its characters begins there; at the end, its size.
  struct Word {
    std::string text;
    std::vector<uint32_t> begins;

    size_t characters() const { return begins.size() - 1; }
    // Of characters [begin, end).
    std::string_view bytes(size_t begin, size_t end) const { return std::string_view(text).substr(begins[begin], begins[end] - begins[begin]); }
  };
  // The characters [begin, end) of a word.
  struct Piece {
    uint32_t token, begin, end;
  };

  explicit Model(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}

  virtual void encode_word(const Word& word, std::vector<Piece>& pieces) const = 0;

 private:
  // What a few thousand words became, the latest of those that share a slot. So its size is bounded, and no text makes it slow.
  struct Remembered {
    std::string word;
    std::vector<Piece> pieces;
  };
  static constexpr size_t slots = 8192, longest_remembered = 64;  // bytes of a word

  Vocabulary vocabulary_;
  mutable std::mutex mutex_;
  mutable std::vector<Remembered> remembered_;
};

}  // namespace attn
