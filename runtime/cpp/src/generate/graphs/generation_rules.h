// What assets/generation.json says of answers: how they begin, which tokens are not chosen, and what is done by default. The Python twin is
// attn_runtime/generate/graphs/generation_rules.py.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "format/json.h"

namespace attn {

using Token = int64_t;

struct GenerationRules {
  // A token of `begin` that the caller chooses by a name: that at `place`, or the one behind its end where `place` is its length.
  struct Choice {
    size_t place;
    std::vector<std::pair<std::string, Token>> tokens;  // in the file's order, which messages have
  };
  struct Drawn {
    std::optional<double> temperature, top_p;
    std::optional<int64_t> top_k;
  };

  // From the asset, which the schema was held against.
  static GenerationRules of(const Json& asset);

  std::optional<std::vector<Token>> begin;                // none for a decoder-only model
  size_t uncounted = 0;                                   // tokens of begin that do not count into the length that a score is divided by
  std::vector<std::pair<std::string, Choice>> choices;
  std::vector<Token> suppress, suppress_first, forced_end;
  size_t encoder_no_repeat_ngram = 0;

  // Where the caller says nothing: of an answer (new), and of a row with its prompt or begin (length).
  std::optional<int64_t> max_new, max_length;
  int64_t min_new = 0, min_length = 0;
  int64_t beams = 1;
  double length_penalty = 1, repetition_penalty = 1;
  bool early_stop = false;
  int64_t no_repeat_ngram = 0;
  std::optional<Drawn> drawn;

  // Every token that the model must have, with the key it stands under.
  std::vector<std::pair<const char*, Token>> tokens() const;
  std::vector<size_t> begin_lengths() const;  // how many tokens an answer may begin with; empty for a decoder-only model
  std::string problem() const;                // what does not fit together; "" where all does
  // `begin` with what was chosen by name. Raises usage_error for a name that is not there.
  std::vector<Token> begin_of(const std::vector<std::pair<std::string, std::string>>& chosen, const std::string& where) const;
};

}  // namespace attn
