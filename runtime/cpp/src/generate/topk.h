// The largest of many numbers, in an order that does not depend on how they were found. The Python twin is attn_runtime/generate/topk.py.
#pragma once

#include <cstddef>
#include <vector>

namespace attn {

// The places of the `count` largest of values[0..size), largest first; of equal ones that with the lowest place first.
void find_largest(const double* values, size_t size, size_t count, std::vector<size_t>& places);

// Of all that a row's beams can go on with, the `count` sums that are largest: of equal ones that with the lower token comes first, and of
// one token that of the lower beam. Beams are added one after the other, and hardly any sum is made: what its logit says is too small is left
// after one comparison.
class LargestSums {
 public:
  struct Sum {
    double value;
    size_t place;  // token * beams + beam
  };

  LargestSums(size_t count, size_t beams) : count_(count), beams_(beams) {}

  void clear() { found_.clear(); }
  // (logits[token] - total) + sum, in double, for every token; none of it NaN.
  template <typename T>
  void add(const T* logits, size_t vocabulary, double total, double sum, size_t beam);
  // Largest first. Nothing may be added behind.
  const std::vector<Sum>& sorted();

 private:
  size_t count_, beams_;
  std::vector<Sum> found_;  // a heap whose top is the least
};

}  // namespace attn
