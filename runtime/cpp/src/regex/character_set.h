// The characters that one place of a pattern takes: ranges, properties, and classes within classes.
#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "unicode/properties.h"

namespace attn {

class CharacterSet {
 public:
  static CharacterSet one(char32_t value) { return range(value, value); }
  static CharacterSet range(char32_t first, char32_t last);
  static CharacterSet any_but_newline();
  static CharacterSet white_space();
  // \w; in a class it takes no fractions and superscripts below U+0100, which it does outside of one.
  static CharacterSet words(bool in_class);
  static CharacterSet digits();
  // \p{NAME}: a general category, by its short or its long name, a script of those that are known, or White_Space.
  static std::optional<CharacterSet> property(const std::string& name);

  CharacterSet() = default;  // none
  void add(const CharacterSet& other);        // what is in either
  void keep(const CharacterSet& other);       // what is in both
  void invert() { negated_ = !negated_; }
  // Looked up from now on in a table where it is ASCII; nothing may be added afterwards.
  void finish();

  bool contains(char32_t value) const { return value < ascii_.size() && finished_ ? ascii_[value] : holds(value); }

 private:
  enum class Kind : uint8_t { range, categories, script, white_space, word, set };
  struct Item {
    Kind kind;
    char32_t first, last;  // of categories: the first is a set of bits; of a script: its number; of words: whether in a class; of a set: its place
  };

  static CharacterSet of(Item item);
  bool holds(char32_t value) const;

  std::vector<Item> items_;          // what any of holds is in the set
  std::vector<CharacterSet> sets_;
  std::vector<CharacterSet> limits_;  // and each of these
  bool negated_ = false, finished_ = false;
  std::bitset<128> ascii_;
};

}  // namespace attn
