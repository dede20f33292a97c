// Which tokens may come next, and what repeating one costs: rules on the scores of the next token, which are those of Hugging Face's
// transformers. The Python twin is attn_runtime/generate/rules.py.
#pragma once

#include <string>
#include <vector>

#include "generate/settings.h"

namespace attn {

class ScoreRules {
 public:
  using Tokens = std::vector<Token>;

  // `stops` has a place for every token of the vocabulary; `prompts` is what each row begins with, `limits` most tokens of its answer,
  // `sources` what the encoder read for it, or the prompt; empty where it reads no tokens.
  ScoreRules(const Settings& settings, const std::vector<uint8_t>& stops, std::vector<Tokens> prompts, std::vector<size_t> limits,
             std::vector<Tokens> sources, std::string where);

  // Whether anything is ruled: usual generations pay nothing.
  bool any() const;
  // Change the scores of every token behind an answer to the prompt of `row`.
  void apply(float* scores, size_t row, const Tokens& answer) const { change(scores, row, answer); }
  void apply(double* scores, size_t row, const Tokens& answer) const { change(scores, row, answer); }
  // What a beam search counts for `token` behind `answer`, to which the model gives the log probability `value`.
  double log_probability(double value, size_t row, const Tokens& answer, Token token) const;
  // Of a row that may not go on with any token: raises usage_error.
  [[noreturn]] void refuse(size_t row, size_t step) const;

 private:
  template <typename T>
  void change(T* scores, size_t row, const Tokens& answer) const;
  bool ends(size_t row, size_t written) const { return !settings_.forced_end.empty() && written + 1 == limits_[row]; }

  Settings settings_;
  size_t vocabulary_;
  Tokens stops_;
  std::vector<Tokens> prompts_, sources_;
  std::vector<size_t> limits_, fewest_;
  std::string where_;
};

}  // namespace attn
