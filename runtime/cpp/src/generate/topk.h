// The largest of many numbers, in an order that does not depend on how they were found. The Python twin is attn_runtime/generate/topk.py.
#pragma once

#include <cstddef>
#include <vector>

namespace attn {

// The places of the `count` largest of values[0..size), largest first; of equal ones that with the lowest place first.
void find_largest(const double* values, size_t size, size_t count, std::vector<size_t>& places);

}  // namespace attn
