// What a Split, a Replace and the like look for: a text, or a regular expression.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "regex/regex.h"
#include "tokenizer/parts.h"

namespace attn {

class TextPattern {
 public:
  // The member `pattern` of a part, {"String": TEXT} or {"Regex": PATTERN}. Raises bundle_error for one that is not supported.
  static TextPattern read(TokenizerPart& part);
  // Of a pattern that is known to be good.
  explicit TextPattern(const Regex& regex) : regex_(std::make_shared<Regex>(regex)) {}
  explicit TextPattern(std::u32string wanted) : wanted_(std::move(wanted)) {}

  // One after the other, as characters of the text.
  std::vector<Regex::Match> find_all(const std::u32string& text) const;
  std::vector<Regex::Match> find_all(const Characters& text) const;

 private:
  std::u32string wanted_;
  std::shared_ptr<const Regex> regex_;  // or none, where it is a text
};

}  // namespace attn
