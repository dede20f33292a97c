// What is asked of a generation. The Python twin is attn_runtime/generate/options.py.
#pragma once

#include <attn/runtime.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace attn {

// Draw tokens instead of taking the likeliest; the limits apply in the order temperature, top_k, top_p.
struct Sample {
  double temperature = 1;
  std::optional<int64_t> top_k;
  std::optional<double> top_p;
  uint64_t seed = 0;  // row i draws from the stream of seed + i, one number a token
};

// None is the bundle's default.
struct GenerateOptions {
  std::optional<int64_t> max_length;  // most tokens of an answer, its stop token included
  std::optional<int64_t> beams;
  std::optional<double> length_penalty;
  std::optional<bool> early_stop;
  std::optional<Sample> sample;
  bool likeliest = false;                    // without a sample: not drawn, whatever the bundle does by default
  uint64_t seed = 0;                         // of what the bundle draws by default
  std::optional<std::vector<int64_t>> stop;  // instead of the model's own
  bool scores = false;                       // compute them also where choosing the tokens does not need them
  // Called with row and token as it is chosen, the stop token included; false ends the generation. With one beam alone.
  std::function<bool(size_t, int64_t)> on_token;
  // Called with row and what its text grows by, behind on_token, by generate_in_pieces alone; false ends the generation.
  std::function<bool(size_t, const std::string&)> on_text;

  std::optional<int64_t> min_length;  // an answer has so many tokens before a stop token is chosen
  std::optional<double> repetition_penalty;
  std::optional<int64_t> no_repeat_ngram;                     // 0 for no such rule
  int64_t lookup = 0;                                         // most tokens that are guessed ahead; 0 for none
  std::vector<std::pair<std::string, std::string>> begin;  // what answers begin with, by the names of the model's choices

  static GenerateOptions of(const attn_generate_options* given);  // raises usage_error
  // The same for a batch whose first row is the caller's row `begin`: that is what the callbacks are told. `this` outlives them.
  GenerateOptions of_rows_from(size_t begin) const;
  void check() const;  // raises usage_error for values that make no sense
};

}  // namespace attn
