// Which output feeds which input, from assets/generation.json and the graphs, checked once when a generator is opened. The Python twin is
// attn_runtime/generate/graphs/graph_io.py.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bundle/bundle.h"
#include "generate/graphs/generation_rules.h"

namespace attn {

// A graph's inputs and outputs, as the chosen precision has them.
struct Sides {
  std::string name;
  std::vector<TensorSpec> inputs, outputs;

  const TensorSpec* input(const std::string& wanted) const;   // nullptr where there is none
  const TensorSpec* output(const std::string& wanted) const;
};

struct GraphIO {
  // Raises bundle_error where there is no generator or where its parts do not fit.
  static GraphIO of(const Bundle& bundle, const std::optional<std::string>& precision);

  std::string where;
  std::optional<Sides> encoder;  // none for a decoder-only model
  Sides first, step;
  std::optional<Sides> extend;       // a step of several tokens, which reads nothing else than `step`
  std::vector<std::string> cache;    // the KIND_N of each cached tensor
  std::vector<std::string> carried;  // the step's inputs that are the same at every step
  GenerationRules rules;
  std::vector<int64_t> stop;
  int64_t pad = 0;
  std::pair<int64_t, int64_t> capacities;  // fewest and most entries that the cache of the step may have
  int64_t max_length = 0;                  // most tokens of a row, prompt included
  int64_t vocabulary = 0;
  std::vector<TensorSpec> inputs;  // what the caller gives: the encoder's inputs, or tokens and tokens_mask
  // Rows of the step that fit in one call: a batch has at most so many over the number of beams.
  int64_t most_rows = 0;
  bool one_place = false;  // whether all rows of the step stand at the same place: its position is [1, 1], not [batch, 1]
  // Tokens that may be guessed ahead, fed behind the one that is known; 0 without `extend`.
  int64_t most_guessed() const { return extend ? extend->input("token")->dims[1].max - 1 : 0; }
  std::vector<TensorSpec> cached() const;  // the step's past_* inputs, in the order of `cache`
  // The encoder's first input int64 [batch, length], and the bool mask beside it, or ""; both "" where it reads no tokens.
  std::string source_tokens, source_mask;
};

}  // namespace attn
