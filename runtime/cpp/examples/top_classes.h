// The likeliest classes, as attn-run classify tells them.
#pragma once

#include <attn/runtime.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <numeric>
#include <string>
#include <vector>

// Of the one row of logits that a classifier answers; returns the exit code.
inline int print_top_classes(const attn::Tensors& outputs, const std::vector<std::string>& labels, size_t top = 3) {
  const attn::Tensor& answer = outputs.begin()->second;
  if (outputs.size() != 1 || answer.dtype() != ATTN_FLOAT32 || labels.empty() || answer.view<float>().size() != labels.size()) {
    std::fprintf(stderr, "error: the bundle is no classifier: expected one row of float32, a number for each of its labels\n");
    return ATTN_ERROR_USAGE;
  }
  const attn::Span<const float> logits = answer.view<float>();
  const double largest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> shares;
  for (const float logit : logits) shares.push_back(std::exp(static_cast<double>(logit) - largest));
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  std::vector<size_t> order(shares.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return shares[a] > shares[b]; });
  order.resize(std::min(order.size(), top));
  for (const size_t index : order) std::printf("%.6f %s\n", shares[index] / sum, labels[index].c_str());
  return 0;
}
