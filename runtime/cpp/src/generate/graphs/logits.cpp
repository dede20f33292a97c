#include "generate/graphs/logits.h"

#include <algorithm>
#include <cmath>

#include "util/error.h"
#include "util/half.h"

namespace attn {
namespace {

// In lanes, which a compiler turns into vector instructions; comparisons that a NaN takes part in are false, so it is looked for apart.
template <typename T>
size_t first_largest(const T* values, size_t count) {
  constexpr size_t lanes = 16;
  T most[lanes];
  T unequal[lanes] = {};
  std::fill_n(most, lanes, values[0]);
  size_t at = 0;
  for (; at + lanes <= count; at += lanes) {
    for (size_t lane = 0; lane < lanes; ++lane) {
      const T value = values[at + lane];
      most[lane] = value > most[lane] ? value : most[lane];
      unequal[lane] += value != value ? T{1} : T{0};
    }
  }
  T largest = *std::max_element(most, most + lanes);
  bool has_nan = std::any_of(unequal, unequal + lanes, [](T each) { return each != 0; });
  for (; at < count; ++at) {
    largest = values[at] > largest ? values[at] : largest;
    has_nan = has_nan || values[at] != values[at];
  }
  const T* end = values + count;
  const T* found = has_nan ? std::find_if(values, end, [](T value) { return value != value; }) : std::find(values, end, largest);
  return static_cast<size_t>(found - values);
}

template <typename T>
double log_sum(const T* values, size_t count) {
  const T largest = values[first_largest(values, count)];
  double sum = 0;
  for (size_t i = 0; i < count; ++i) sum += static_cast<double>(std::exp(values[i] - largest));  // of floats in half the time
  return std::log(sum) + static_cast<double>(largest);
}

}  // namespace

size_t likeliest(const Logits& logits, size_t row) {
  return logits.with_row(row, [&](const auto* values) { return first_largest(values, logits.vocabulary); });
}

double largest_of(const Logits& logits, size_t row) { return logits.at(row, likeliest(logits, row)); }

double log_sum_exp(const Logits& logits, size_t row) {
  return logits.with_row(row, [&](const auto* values) { return log_sum(values, logits.vocabulary); });
}

double log_sum_exp(const double* values, size_t count) { return log_sum(values, count); }

void check_finite(double value, size_t row, size_t step, const std::string& where) {
  if (std::isfinite(value)) return;
  const char* told = std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
  throw backend_error(where + ": the logits of row " + std::to_string(row) + " are " + told + " at step " + std::to_string(step) +
                      ": the graph overflows. Take precision fp32, or verify the bundle here: attn-run verify");
}

Logits logits_of(const View& output, std::vector<float>& widened) {
  const auto vocabulary = static_cast<size_t>(output.shape.back()), count = elements(output.shape), rows = count / vocabulary;
  if (output.dtype != ATTN_FLOAT16) return {output.data, output.dtype, rows, vocabulary};
  widened.resize(count);
  std::transform(output.as<uint16_t>(), output.as<uint16_t>() + count, widened.begin(), float_of_half);
  return {widened.data(), ATTN_FLOAT32, rows, vocabulary};
}

}  // namespace attn
