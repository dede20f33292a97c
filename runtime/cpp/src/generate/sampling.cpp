#include "generate/sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "generate/topk.h"

namespace attn {
namespace {

double sum_of(const std::vector<double>& values) { return std::accumulate(values.begin(), values.end(), 0.0); }

}  // namespace

Distribution distribution(const Logits& logits, size_t row, const Sample& sample) {
  const size_t count = logits.vocabulary;
  const double largest = largest_of(logits, row);
  std::vector<double> scaled(count);
  // Of a temperature near 0 the division gives minus infinity, which is what it should be.
  logits.with_row(row, [&](const auto* values) {
    for (size_t i = 0; i < count; ++i) scaled[i] = (static_cast<double>(values[i]) - largest) / sample.temperature;
  });
  Distribution left;
  if (sample.top_k || sample.top_p) {
    const size_t most = sample.top_k ? std::min(static_cast<size_t>(*sample.top_k), count) : count;
    find_largest(scaled.data(), count, most, left.tokens);
  } else {
    left.tokens.resize(count);
    std::iota(left.tokens.begin(), left.tokens.end(), size_t{0});
  }
  for (const size_t token : left.tokens) left.weights.push_back(std::exp(scaled[token]));  // the largest of them is 0
  const double sum = sum_of(left.weights);
  for (double& weight : left.weights) weight /= sum;
  if (sample.top_p) {
    size_t enough = 0;
    for (double upto = 0; enough < left.weights.size() && upto < *sample.top_p; ++enough) upto += left.weights[enough];
    left.tokens.resize(enough);
    left.weights.resize(enough);
    const double kept = sum_of(left.weights);
    for (double& weight : left.weights) weight /= kept;
  }
  return left;
}

size_t draw(const Logits& logits, size_t row, const Sample& sample, double number) {
  Distribution left = distribution(logits, row, sample);
  std::partial_sum(left.weights.begin(), left.weights.end(), left.weights.begin());
  const auto place = std::upper_bound(left.weights.begin(), left.weights.end(), number * left.weights.back()) - left.weights.begin();
  if (static_cast<size_t>(place) < left.tokens.size()) return left.tokens[static_cast<size_t>(place)];
  // Rounded up to the whole sum, a number is beyond the last token, and stands for the last one that can be drawn.
  return left.tokens[static_cast<size_t>(std::lower_bound(left.weights.begin(), left.weights.end(), left.weights.back()) - left.weights.begin())];
}

Sampler::Sampler(const Sample& sample, size_t rows) : sample_(sample) {
  for (size_t row = 0; row < rows; ++row) streams_.emplace_back(sample.seed + row);
}

size_t Sampler::operator()(const Logits& logits, size_t row) {
  const size_t found = likeliest(logits, row);
  // A NaN or an infinity is told of by whoever looks at what was chosen.
  return std::isfinite(logits.at(row, found)) ? draw(logits, row, sample_, streams_[row].next()) : found;
}

}  // namespace attn
