// What one generation does: its options, and the bundle's defaults where they say nothing. The Python twin is
// attn_runtime/generate/settings.py.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "generate/graphs/generation_rules.h"
#include "generate/options.h"

namespace attn {

struct Settings {
  // Raises usage_error for a choice that the model does not have, and for values that make no sense.
  static Settings of(const GenerateOptions& options, const GenerationRules& rules, const std::vector<Token>& stop, const std::string& where);

  // Most tokens of an answer and of a row with its prompt or begin; and how many each has before a stop token is chosen.
  std::optional<int64_t> most_new, most_of_row;
  int64_t least_new = 0, least_of_row = 0;
  int64_t beams = 1;
  double length_penalty = 1;
  bool early_stop = false;
  std::optional<Sample> sample;
  bool scores = false;
  std::vector<Token> stop;
  std::vector<Token> begin;  // empty for a decoder-only model
  size_t counted = 0;        // tokens of begin that count into the length that a score is divided by
  double repetition_penalty = 1;
  int64_t no_repeat_ngram = 0;
  std::vector<Token> suppress, suppress_first, forced_end;
  size_t encoder_no_repeat_ngram = 0;
  int64_t lookup = 0;

  // Raises usage_error for what a model of so many tokens can't do.
  void check(int64_t vocabulary, const std::string& where) const;
  // Raises usage_error for guesses that this generation, or a bundle whose `extend` takes up to `most` of them, can't have.
  void check_lookup(int64_t most, const std::string& where) const;
  // Most tokens of an answer behind a prompt (or begin) of `length` tokens, where the model has room for `room`. Raises input_error for a
  // prompt that the bundle's default length of a row leaves no room for: nobody asked for an empty answer.
  size_t limit(size_t length, int64_t room, const std::string& where) const;
  // How many tokens an answer behind a prompt of `length` tokens has before a stop token is chosen.
  size_t fewest(size_t length) const;
  // Of an answer of `length` tokens whose log probabilities add up to `sum`.
  double score(double sum, size_t length) const;
};

}  // namespace attn
