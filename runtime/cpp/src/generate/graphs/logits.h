// What a graph answers for the next token: [rows, vocabulary], and the few sums that choosing takes.
#pragma once

#include <attn/runtime.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "util/tensor.h"

namespace attn {

struct Logits {
  const void* data = nullptr;
  attn_dtype dtype = ATTN_FLOAT32;  // or float64; halves are widened before
  size_t rows = 0, vocabulary = 0;

  // `call` with a pointer to a row's numbers, of their type.
  template <typename Call>
  decltype(auto) with_row(size_t row, Call&& call) const {
    if (dtype == ATTN_FLOAT64) return std::forward<Call>(call)(static_cast<const double*>(data) + row * vocabulary);
    return std::forward<Call>(call)(static_cast<const float*>(data) + row * vocabulary);
  }
  // That row alone.
  Logits only(size_t row) const {
    return {with_row(row, [](const auto* values) { return static_cast<const void*>(values); }), dtype, 1, vocabulary};
  }
  double at(size_t row, size_t token) const {
    return with_row(row, [token](const auto* values) { return static_cast<double>(values[token]); });
  }
};

// The token with the largest logit; of equal ones that with the lowest id. A NaN is larger than all, so that it is noticed.
size_t likeliest(const Logits& logits, size_t row);
double largest_of(const Logits& logits, size_t row);
// log(sum(exp(logits))), whatever the size of the logits.
double log_sum_exp(const Logits& logits, size_t row);
// The same of numbers at hand.
double log_sum_exp(const double* values, size_t count);

// Raises backend_error, opened by `where`, for a value of a row that is NaN or infinite.
void check_finite(double value, size_t row, size_t step, const std::string& where);

// What lies in an output [..., vocabulary] of a graph; halves are widened into `widened`.
Logits logits_of(const View& output, std::vector<float>& widened);

}  // namespace attn
