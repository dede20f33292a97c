// Regular expressions as the `tokenizers` library finds them: of the matches that begin first, the one that backtracking comes to first.
// A search takes time in proportion to the text, whatever the pattern: no place of it is tried twice in one state.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "regex/program.h"

namespace attn {

class Regex {
 public:
  struct Match {
    size_t begin, end;  // characters
  };

  // Raises PatternError for what is beyond it: captures and what refers to them, atomic groups, a look behind at more than one character.
  explicit Regex(const std::u32string& pattern) : program_(compile_pattern(parse_pattern(pattern))) {}

  // One after the other; an empty one never right behind another, and none in an empty text.
  std::vector<Match> find_all(const std::u32string& text) const;

 private:
  Program program_;
};

}  // namespace attn
