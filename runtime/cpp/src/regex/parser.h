// A pattern as a tree. It is in the syntax of Oniguruma, the engine of the `tokenizers` library, as far as tokenizers use that.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

#include "regex/character_set.h"

namespace attn {

// What is not known of a pattern, and where: "at character 7: a backreference is not supported".
class PatternError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct PatternNode {
  enum class Kind { set, sequence, alternatives, repeat, assertion, look };
  enum class Mode { greedy, lazy, possessive };
  enum class Assertion { line_begin, line_end, text_begin, text_end, last_line_end, word_border, no_word_border };

  Kind kind = Kind::sequence;
  size_t place = 0;  // in the pattern, for messages
  CharacterSet set;
  std::vector<PatternNode> parts;  // of a repeat or a look: one
  size_t least = 0, most = 0;      // of a repeat
  Mode mode = Mode::greedy;
  Assertion assertion = Assertion::line_begin;
  bool behind = false, negative = false;  // of a look

  bool may_be_empty() const;
  // Most characters that it takes; `unbounded` where there is no limit.
  size_t longest() const;

  static constexpr size_t unbounded = static_cast<size_t>(-1), longest_look = 64;
};

// Raises PatternError.
PatternNode parse_pattern(const std::u32string& pattern);

[[noreturn]] void refuse_pattern(size_t place, const std::string& problem);

}  // namespace attn
