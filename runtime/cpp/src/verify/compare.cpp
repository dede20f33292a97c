#include "verify/compare.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <numeric>

#include "util/half.h"

namespace attn {
namespace {

constexpr size_t kKept = 3;  // worst elements
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kLargestHalf = 65504;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

template <typename T>
std::vector<double> wide(const Tensor& tensor) {
  const T* from = static_cast<const T*>(tensor.buffer.data());
  std::vector<double> values(elements(tensor.shape));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(from[i]);
  return values;
}

bool is_float(attn_dtype dtype) { return dtype == ATTN_FLOAT16 || dtype == ATTN_FLOAT32 || dtype == ATTN_FLOAT64; }

std::vector<double> doubles(const Tensor& tensor) {
  switch (tensor.dtype) {
    case ATTN_FLOAT16: {
      const auto* from = static_cast<const uint16_t*>(tensor.buffer.data());
      std::vector<double> values(elements(tensor.shape));
      for (size_t i = 0; i < values.size(); ++i) values[i] = float_of_half(from[i]);
      return values;
    }
    case ATTN_FLOAT32: return wide<float>(tensor);
    case ATTN_FLOAT64: return wide<double>(tensor);
    case ATTN_INT8: return wide<int8_t>(tensor);
    case ATTN_INT16: return wide<int16_t>(tensor);
    case ATTN_INT32: return wide<int32_t>(tensor);
    case ATTN_INT64: return wide<int64_t>(tensor);
    case ATTN_UINT8:
    case ATTN_BOOL: return wide<uint8_t>(tensor);
    case ATTN_UINT16: return wide<uint16_t>(tensor);
    case ATTN_UINT32: return wide<uint32_t>(tensor);
    case ATTN_UINT64: return wide<uint64_t>(tensor);
  }
  return {};
}

// Whether `got` is what float16 makes of a number beyond its range: infinity, or where it saturates its largest number.
bool stands_for(double expected, double got) {
  if (std::fabs(expected) <= kLargestHalf) return false;
  const double signed_got = expected < 0 ? -got : got;
  return signed_got == kInfinity || signed_got == kLargestHalf;
}

double over(double error, double allowed) { return error == 0 || std::isinf(error) ? error : error / allowed; }

Shape index_of(size_t position, const Shape& shape) {
  Shape index(shape.size());
  for (size_t axis = shape.size(); axis-- > 0;) {
    const auto size = static_cast<size_t>(shape[axis]);
    index[axis] = static_cast<int64_t>(position % size);
    position /= size;
  }
  return index;
}

Difference failed(const std::string& output, const std::string& problem) {
  return {output, kInfinity, kNan, 0.0, false, problem, {}};
}

std::string number(double value, const char* form) {
  char text[40];
  std::snprintf(text, sizeof text, form, value);
  return text;
}

}  // namespace

Difference compare(const std::string& output, const Tensor& expected, const Tensor* got, const Tolerance& limits, bool half_io) {
  const Tolerance tolerance = limits.of(output);
  if (!got) return failed(output, "missing");
  if (got->shape != expected.shape) return failed(output, "shape " + text(got->shape) + ", expected " + text(expected.shape));
  if (got->dtype != expected.dtype) {
    return failed(output, "dtype " + std::string(name_of(got->dtype)) + ", expected " + name_of(expected.dtype));
  }
  const size_t count = elements(expected.shape);
  if (count == 0) return {output, 0.0, 0.0, tolerance.limit(0.0), true, "", {}};
  const std::vector<double> wide_expected = doubles(expected), wide_got = doubles(*got);
  const bool floats = is_float(expected.dtype);
  const size_t bytes = size_of(expected.dtype);
  const auto* raw_expected = static_cast<const unsigned char*>(expected.buffer.data());
  const auto* raw_got = static_cast<const unsigned char*>(got->buffer.data());
  static const std::vector<FillRange> no_fills;
  const std::vector<FillRange>& fills = floats ? tolerance.fills_of(output) : no_fills;
  Difference found{output, 0.0, 0.0, 0.0, false, "", {}};
  std::vector<double> error(count);
  size_t unequal = 0, one_nan = 0, filled = 0, fills_off = 0;
  double fill_error = 0;
  for (size_t i = 0; i < count; ++i) {
    const double a = wide_expected[i], b = wide_got[i];
    error[i] = std::fabs(a - b);
    if (!floats) {
      // Integers and booleans have no rounding: 2**53 neighbours must not vanish in a double.
      if (std::memcmp(raw_expected + i * bytes, raw_got + i * bytes, bytes) != 0) {
        ++unequal;
        if (error[i] == 0) error[i] = 1;
      }
      continue;
    }
    if (std::isnan(a) != std::isnan(b)) ++one_nan;
    if ((std::isinf(a) && a == b) || (std::isnan(a) && std::isnan(b))) error[i] = 0;
    if (std::isnan(error[i])) error[i] = kInfinity;
    if (!is_fill(a, fills)) continue;
    if (half_io && stands_for(a, b)) error[i] = 0;
    const double allowed = tolerance.limit(std::fabs(a));
    ++filled, fills_off += error[i] > allowed;
    fill_error = std::max(fill_error, error[i]);
    found.fill_ratio = std::max(found.fill_ratio, over(error[i], allowed));
    found.max_fill = std::fmax(found.max_fill, std::fabs(a));  // of NaN and a number, the number
  }
  for (size_t i = 0; i < count; ++i) {
    if (is_fill(wide_expected[i], fills)) continue;
    found.max_error = std::max(found.max_error, error[i]);
    if (std::isfinite(wide_expected[i])) found.max_reference = std::max(found.max_reference, std::fabs(wide_expected[i]));
  }
  if (floats) {
    found.limit = tolerance.limit(found.max_reference);
    if (one_nan) {
      found.problem = "NaN in " + std::to_string(one_nan) + " of " + std::to_string(count) + " places where only one side has it";
    } else if (fills_off) {
      found.problem = std::to_string(fills_off) + " of " + std::to_string(filled) + " fill values differ, by up to " + number(fill_error, "%.3g");
    }
  } else if (unequal) {
    found.problem = std::to_string(unequal) + " of " + std::to_string(count) + " differ";
  }
  found.passed = found.problem.empty() && found.max_error <= found.limit;
  if (found.passed) return found;
  const auto allowed = [&](size_t i) {
    return is_fill(wide_expected[i], fills) ? tolerance.limit(std::fabs(wide_expected[i])) : found.limit;
  };
  std::vector<double> by = error;  // furthest over their own limits; beside fills, these differ
  for (size_t i = 0; filled && i < count; ++i) by[i] = over(error[i], allowed(i));
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  const size_t kept = std::min(kKept, count);
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end(),
                    [&](size_t a, size_t b) { return by[a] != by[b] ? by[a] > by[b] : a > b; });
  for (size_t i = 0; i < kept; ++i) {
    found.worst.push_back({index_of(order[i], expected.shape), wide_expected[order[i]], wide_got[order[i]], allowed(order[i])});
  }
  return found;
}

std::vector<Difference> compare_all(const Tensors& expected, const Tensors& got, const Tolerance& tolerance, bool half_io) {
  std::vector<Difference> found;
  for (const auto& [name, tensor] : expected) {
    const auto answer = got.find(name);
    found.push_back(compare(name, tensor, answer == got.end() ? nullptr : &answer->second, tolerance, half_io));
  }
  for (const auto& [name, tensor] : got) {
    if (expected.count(name) == 0) found.push_back(failed(name, "not in the reference"));
  }
  return found;
}

std::string worst_table(const std::vector<std::pair<std::string, Difference>>& failures) {
  std::vector<std::vector<std::string>> rows{{"case", "output", "index", "expected", "got", "|error|", "allowed"}};
  for (const auto& [test_case, difference] : failures) {
    if (difference.worst.empty()) rows.push_back({test_case, difference.output, difference.problem, "", "", "", ""});
    for (const Worst& worst : difference.worst) {
      rows.push_back({test_case, difference.output, text(worst.index), number(worst.expected, "%.8g"), number(worst.got, "%.8g"),
                      number(std::fabs(worst.expected - worst.got), "%.3g"), number(worst.allowed, "%.3g")});
    }
  }
  std::vector<size_t> widths(rows[0].size());
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string table;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) line += (i ? "  " : "") + row[i] + std::string(widths[i] - row[i].size(), ' ');
    line.erase(line.find_last_not_of(' ') + 1);
    table += (table.empty() ? "" : "\n") + line;
  }
  return table;
}

namespace {

template <typename From, typename To, typename Convert>
Tensor converted(const Tensor& tensor, attn_dtype from, attn_dtype to, bool change, Convert convert) {
  Tensor made(tensor.name, change ? to : tensor.dtype, tensor.shape);
  const size_t count = elements(tensor.shape);
  if (change && tensor.dtype == from) {
    const auto* values = static_cast<const From*>(tensor.buffer.data());
    std::transform(values, values + count, static_cast<To*>(made.buffer.data()), convert);
  } else if (count) {
    std::memcpy(made.buffer.data(), tensor.buffer.data(), count * size_of(tensor.dtype));
  }
  return made;
}

}  // namespace

Tensor halved(const Tensor& tensor) {
  return converted<float, uint16_t>(tensor, ATTN_FLOAT32, ATTN_FLOAT16, tensor.dtype == ATTN_FLOAT32, half_of_float);
}

Tensor widened(const Tensor& tensor, attn_dtype like) {
  const bool change = tensor.dtype == ATTN_FLOAT16 && like == ATTN_FLOAT32;
  return converted<uint16_t, float>(tensor, ATTN_FLOAT16, ATTN_FLOAT32, change, float_of_half);
}

}  // namespace attn
