// The same by ONNX Runtime's own C interface, on the bundle's ONNX file.
//
//   attn_bench_start_bare BUNDLE.attn LIBRARY INPUT 1,3,32,32 OUTPUT 1,10
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "raw_ort.h"

namespace {

std::vector<int64_t> shape_of(const std::string& text) {
  std::vector<int64_t> shape;
  std::istringstream sizes(text);
  for (std::string size; std::getline(sizes, size, ',');) shape.push_back(std::atoll(size.c_str()));
  return shape;
}

std::vector<float> zeros(const std::vector<int64_t>& shape) {
  return std::vector<float>(static_cast<size_t>(std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>())));
}

}  // namespace

int main(int count, char** given) {
  if (count < 7) return 2;
  const std::vector<int64_t> in_shape = shape_of(given[4]), out_shape = shape_of(given[6]);
  std::vector<float> in = zeros(in_shape), out = zeros(out_shape);
  RawOrt raw(given[2], std::string(given[1]) + "/model.onnx", given[3], in.data(), in_shape, given[5], out.data(), out_shape);
  raw.run();
  std::printf("%.6f\n", std::accumulate(out.begin(), out.end(), 0.0));
  std::fflush(stdout);
  return 0;
}
