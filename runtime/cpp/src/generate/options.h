// What is asked of a generation. The Python twin is attn_runtime/generate/options.py.
#pragma once

#include <attn/runtime.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace attn {

// Draw tokens instead of taking the likeliest; the limits apply in the order temperature, top_k, top_p.
struct Sample {
  double temperature = 1;
  std::optional<int64_t> top_k;
  std::optional<double> top_p;
  uint64_t seed = 0;  // row i draws from the stream of seed + i, one number a token
};

struct GenerateOptions {
  std::optional<int64_t> max_length;  // most tokens of an answer, its stop token included
  int64_t beams = 1;
  double length_penalty = 1;
  bool early_stop = false;
  std::optional<Sample> sample;
  std::optional<std::vector<int64_t>> stop;  // instead of the model's own
  bool scores = false;                       // compute them also where choosing the tokens does not need them
  // Called with row and token as it is chosen, the stop token included; false ends the generation. With one beam alone.
  std::function<bool(size_t, int64_t)> on_token;
  // Called with row and what its text grows by, behind on_token, by generate_in_pieces alone; false ends the generation.
  std::function<bool(size_t, const std::string&)> on_text;

  static GenerateOptions of(const attn_generate_options* given);  // raises usage_error
  // Raises usage_error for values that make no sense, or that a model of so many tokens can't follow.
  void check(int64_t vocabulary, const std::string& where) const;
};

}  // namespace attn
