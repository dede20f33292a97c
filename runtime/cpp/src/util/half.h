// float16 in memory, as arithmetic on its bits: no compiler flag and no type of the language is needed.
#pragma once

#include <cstdint>
#include <cstring>

namespace attn {

inline float float_of_half(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000U) << 16;
  uint32_t exponent = (half >> 10) & 0x1fU, mantissa = half & 0x3ffU, bits;
  if (exponent == 0x1f) {  // infinity, NaN
    bits = sign | 0x7f800000U | (mantissa << 13);
  } else if (exponent != 0) {
    bits = sign | ((exponent + 112) << 23) | (mantissa << 13);
  } else if (mantissa == 0) {
    bits = sign;
  } else {  // below the normal numbers: shift the first one out
    exponent = 113;
    while ((mantissa & 0x400U) == 0) mantissa <<= 1, --exponent;
    bits = sign | (exponent << 23) | ((mantissa & 0x3ffU) << 13);
  }
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// To nearest, ties to even; what is too large becomes infinity, as in numpy.
inline uint16_t half_of_float(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000U);
  bits &= 0x7fffffffU;
  if (bits > 0x7f800000U) return static_cast<uint16_t>(sign | 0x7e00U | ((bits >> 13) & 0x3ffU));  // NaN
  if (bits >= 0x477ff000U) return static_cast<uint16_t>(sign | 0x7c00U);                           // 65520 and more
  const auto rounded = [](uint32_t mantissa, uint32_t shift) {
    const uint32_t half = 1U << (shift - 1), rest = mantissa & ((1U << shift) - 1), kept = mantissa >> shift;
    return kept + (rest > half || (rest == half && (kept & 1U)) ? 1U : 0U);
  };
  if (bits >= 0x38800000U) return static_cast<uint16_t>(sign | rounded(bits - 0x38000000U, 13));
  if (bits < 0x33000000U) return sign;  // under half of the smallest
  const uint32_t exponent = bits >> 23;
  return static_cast<uint16_t>(sign | rounded((bits & 0x7fffffU) | 0x800000U, 126 - exponent));
}

}  // namespace attn
