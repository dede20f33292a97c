// The arithmetic of 'equal': the largest error of a tensor against its reference, and where it is. The Python twin, which says why it is
// so, is attn_runtime/compare.py.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "bundle/bundle.h"

namespace attn {

struct Worst {
  Shape index;
  double expected, got, allowed;
};

struct Difference {
  std::string output;
  double max_error, max_reference, limit;  // of what is no fill value
  bool passed;
  std::string problem;
  std::vector<Worst> worst;
  double max_fill = std::numeric_limits<double>::quiet_NaN();  // NaN where the reference has none
  double fill_ratio = 0;                                       // the largest error of a fill over what it may be off
};

// Never raises for what it compares; a comparison that can't be made has not passed. `half_io` says that `got` was float16 before it was
// widened: a fill beyond float16's range then equals what float16 makes of it.
Difference compare(const std::string& output, const Tensor& expected, const Tensor* got, const Tolerance& tolerance, bool half_io = false);
// One for each expected output, by name; an output that the reference does not have is a failure too.
std::vector<Difference> compare_all(const Tensors& expected, const Tensors& got, const Tolerance& tolerance, bool half_io = false);

// A table of the worst elements of differences that did not pass, by case.
std::string worst_table(const std::vector<std::pair<std::string, Difference>>& failures);

// A copy; float32 as float16, which is what a file with half_io takes. Other dtypes stay as they are.
Tensor halved(const Tensor& tensor);
// A copy; float16 as float32 where `like` is that: an error is held against PyTorch's float32 answers, not against their rounding.
Tensor widened(const Tensor& tensor, attn_dtype like);

}  // namespace attn
