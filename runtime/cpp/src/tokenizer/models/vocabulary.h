// The words of a tokenizer and their tokens. They are sorted: it takes little more memory than the words have letters, one look-up serves for
// words and for beginnings of words, and nobody can choose words that are slow to find, as with a hash table.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace attn {

class Vocabulary {
 public:
  // A place among the sorted words, 0 and on.
  using Place = uint32_t;
  static constexpr Place none = UINT32_MAX;
  // Longest word, in bytes. Those of real models stay under 600; without a bound a text of as many letters takes quadratic time.
  static constexpr size_t longest_word = 4096;

  struct Entry {
    std::string_view word;
    uint32_t token;
  };

  Vocabulary() = default;
  // `entries` in any order, fewer than 2^32 - 1, of less than 4 GiB in all; the words need not live longer.
  explicit Vocabulary(std::vector<Entry> entries);

  size_t size() const { return tokens_.size(); }
  std::string_view word(Place place) const { return {text_.data() + begins_[place], begins_[place + 1] - begins_[place]}; }
  uint32_t token(Place place) const { return tokens_[place]; }

  // Where a word is; `none` where it is not. Of several times the same word it is the one of the highest token.
  Place find(std::string_view wanted) const;
  // Where the word of a token is; `none` where there is none.
  Place find_token(int64_t token) const;
  // Two words of one token, where there are any.
  std::optional<std::pair<Place, Place>> of_one_token() const;

  // The words [begin, end) that begin with the same `length` bytes.
  struct Range {
    Place begin, end;
    size_t length;

    bool empty() const { return begin == end; }
  };
  Range all() const { return {0, static_cast<Place>(size()), 0}; }
  // Leaves of a range the words whose next byte is `next`.
  void narrow(Range& range, unsigned char next) const;
  // The same of several bytes, one after the other.
  void narrow(Range& range, std::string_view next) const {
    for (size_t i = 0; i < next.size() && !range.empty(); ++i) narrow(range, static_cast<unsigned char>(next[i]));
  }
  // Where the word of just the bytes that all of the range begin with is; `none` where it is not among them.
  Place whole(const Range& range) const;

 private:
  unsigned char byte(Place place, size_t at) const { return static_cast<unsigned char>(text_[begins_[place] + at]); }

  std::string text_;              // all words, one after the other
  std::vector<uint32_t> begins_;  // of each word in `text_`, and the end of the last
  std::vector<uint32_t> tokens_;  // of each word
  std::vector<Place> by_token_;   // all places, in the order of their tokens
  std::array<Place, 257> first_{};  // the first word that begins with a byte or with a higher one
};

}  // namespace attn
