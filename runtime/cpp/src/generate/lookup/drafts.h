// Prompt lookup (Saxena 2023): where the last tokens of a row came before, it may go on as it did there. The Python twin is
// attn_runtime/generate/lookup/drafts.py; both guess the same.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace attn {

// The guesses of one row.
class Drafts {
 public:
  // `source` are the tokens that an encoder read, without padding: a match there ends where they do. `begun` is what the row begins with,
  // `most` the most tokens of a guess.
  Drafts(const std::vector<int64_t>& source, const std::vector<int64_t>& begun, size_t most);

  // What the next tokens may be, `most` of them at most; empty where nothing tells, or where it is not worth it.
  std::vector<int64_t> guess(size_t most);
  // The row goes on with `chosen`, of which all but the last were guessed; `fed` tokens of the guess had been fed. What was right as a whole
  // is followed by a guess twice as long, what was not by one half as long, but longer than what was right of it. From nothing on guesses are
  // made without being fed, until two in a row were right.
  void take(const std::vector<int64_t>& chosen, size_t fed);

 private:
  static constexpr size_t longest = 3;  // tokens of a match
  using Key = std::array<int64_t, longest>;

  Key last(size_t size) const;
  void add(const std::vector<int64_t>& tokens);
  std::vector<int64_t> next(size_t most) const;

  std::vector<int64_t> tokens_, guess_;
  std::array<std::map<Key, size_t>, longest> behind_;  // by size: a few tokens -> the place behind where they stood last
  size_t begin_ = 0;                                   // of the row, behind the source
  size_t most_, length_, right_ = 0;
};

// How many guessed tokens a call is made for, of rows with so many each: as many as half of the rows have at least.
size_t together(std::vector<size_t> lengths);

}  // namespace attn
