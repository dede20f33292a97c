// Tokens drawn from the model's distribution, cut to its likely part. The Python twin is attn_runtime/generate/sampling.py.
#pragma once

#include <vector>

#include "generate/graphs/logits.h"
#include "generate/options.h"
#include "util/random.h"

namespace attn {

// What is left of a distribution after temperature, top_k and top_p, likeliest first where either cuts.
struct Distribution {
  std::vector<size_t> tokens;
  std::vector<double> weights;
};
Distribution distribution(const Logits& logits, size_t row, const Sample& sample);

// The token that `number`, uniform in 0..1, stands for: by the inverse of the distribution that `sample` leaves.
size_t draw(const Logits& logits, size_t row, const Sample& sample, double number);

// Draws a token for each row; every row has its own stream, one number of which goes into a token.
class Sampler {
 public:
  Sampler(const Sample& sample, size_t rows);
  size_t operator()(const Logits& logits, size_t row);

 private:
  Sample sample_;
  std::vector<RandomStream> streams_;
};

}  // namespace attn
