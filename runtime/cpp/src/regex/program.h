// A pattern as instructions for the search in regex.cpp.
#pragma once

#include <cstdint>
#include <vector>

#include "regex/parser.h"

namespace attn {

struct Instruction {
  enum class Kind : uint8_t {
    set,     // one character of sets[a]
    run,     // as many of sets[a] as there are, `b` at most, and no fewer afterwards
    split,   // goes on at a, or where that fails at b
    jump,    // goes on at a
    assert,  // the assertion a
    look,    // whether the instructions behind this one, up to b, match here
    ahead,   // whether the character here is in sets[a]
    behind,  // whether the one in front is
    match
  };
  Kind kind;
  bool negative = false;     // of a look
  uint32_t a = 0, b = 0;
  uint32_t column = 0;       // of a split and a run: which one of them it is
};

struct Program {
  std::vector<Instruction> instructions;
  std::vector<CharacterSet> sets;
  uint32_t splits = 0, runs = 0;

  static constexpr uint32_t no_limit = static_cast<uint32_t>(-1);
};

// Raises PatternError, for a pattern that makes too many instructions too.
Program compile_pattern(const PatternNode& pattern);

}  // namespace attn
