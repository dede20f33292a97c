// numpy's Generator(PCG64(seed)).random(), number for number: the same seed draws the same tokens in both languages.
#pragma once

#include <cstdint>

namespace attn {

class RandomStream {
 public:
  explicit RandomStream(uint64_t seed);
  // Uniform in 0 (inclusive) .. 1 (exclusive).
  double next();

 private:
  __extension__ using Wide = unsigned __int128;
  void advance();

  Wide state_ = 0, increment_ = 0;
};

}  // namespace attn
