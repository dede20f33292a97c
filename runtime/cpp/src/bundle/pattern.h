// The regular expressions of manifest.schema.json, matched in time and memory that grow with the text alone: std::regex recurses for
// every character, knows no code points, and a hostile manifest would find the end of its stack.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace attn {

// A pattern from ^ to $ (the very end) of characters, classes [a-z] and [^...], groups, |, *, +, ?, {n}, {n,m}, \uXXXX and escaped signs.
class Pattern {
 public:
  // Throws std::invalid_argument for what is not read here: patterns come with the program, not with a bundle.
  explicit Pattern(std::string_view pattern);

  bool matches(const std::u32string& text) const;

 private:
  friend class PatternReader;

  struct Class {
    bool negated = false;
    std::vector<std::pair<char32_t, char32_t>> ranges;
    bool holds(char32_t c) const;
  };
  // One step of a machine with several states at once (Thompson's).
  struct Step {
    enum Kind { character, split, end } kind;
    size_t next = 0, other = 0;  // where to go on; `other` for split
    size_t of = 0;               // the class of a character
  };
  void reach(size_t step, std::vector<size_t>& states, std::vector<uint32_t>& marks, uint32_t mark) const;

  std::vector<Class> classes_;
  std::vector<Step> steps_;
  size_t begin_ = 0;
};

}  // namespace attn
