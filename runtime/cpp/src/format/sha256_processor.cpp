#include "format/sha256_steps.h"

// Bundles hold gigabytes of weights, and every byte of them is hashed before it is used.

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

namespace attn {
namespace {

__attribute__((target("sha,sse4.1,ssse3"))) void sha256_x86(uint32_t state[8], const uint8_t* data, size_t blocks) {
  const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  const auto* constants = reinterpret_cast<const __m128i*>(sha256_constants.data());
  const auto load = [](const void* at) __attribute__((target("sse4.1"))) {
    return _mm_loadu_si128(static_cast<const __m128i*>(at));
  };
  // The instructions want the state as ABEF and CDGH.
  const __m128i cdab = _mm_shuffle_epi32(load(state), 0xB1), efgh = _mm_shuffle_epi32(load(state + 4), 0x1B);
  __m128i abef = _mm_alignr_epi8(cdab, efgh, 8), cdgh = _mm_blend_epi16(efgh, cdab, 0xF0);
  for (; blocks; --blocks, data += 64) {
    const __m128i abef_before = abef, cdgh_before = cdgh;
    __m128i w[4];
    for (int i = 0; i < 4; ++i) w[i] = _mm_shuffle_epi8(load(data + 16 * i), swap);
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {  // four rounds each
      if (i >= 4) {
        // w[t] = w[t-16] + s0(w[t-15]) + w[t-7] + s1(w[t-2]), four at once
        const __m128i before = _mm_alignr_epi8(w[(i + 3) % 4], w[(i + 2) % 4], 4);
        w[i % 4] = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(w[i % 4], w[(i + 1) % 4]), before), w[(i + 3) % 4]);
      }
      __m128i sum = _mm_add_epi32(w[i % 4], load(constants + i));
      cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
      sum = _mm_shuffle_epi32(sum, 0x0E);
      abef = _mm_sha256rnds2_epu32(abef, cdgh, sum);
    }
    abef = _mm_add_epi32(abef, abef_before);
    cdgh = _mm_add_epi32(cdgh, cdgh_before);
  }
  const __m128i feba = _mm_shuffle_epi32(abef, 0x1B), dchg = _mm_shuffle_epi32(cdgh, 0xB1);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(state), _mm_blend_epi16(feba, dchg, 0xF0));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

}  // namespace

Sha256Mixer sha256_of_processor() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  const bool sha = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1u << 29));
  return sha && __builtin_cpu_supports("sse4.1") && __builtin_cpu_supports("ssse3") ? sha256_x86 : nullptr;
}

}  // namespace attn

#elif defined(__aarch64__) && defined(__linux__)
#include <arm_neon.h>
#include <sys/auxv.h>

namespace attn {
namespace {

__attribute__((target("+crypto"))) void sha256_arm(uint32_t state[8], const uint8_t* data, size_t blocks) {
  uint32x4_t abcd = vld1q_u32(state), efgh = vld1q_u32(state + 4);
  for (; blocks; --blocks, data += 64) {
    const uint32x4_t abcd_before = abcd, efgh_before = efgh;
    uint32x4_t w[4];
    for (int i = 0; i < 4; ++i) w[i] = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(data + 16 * i)));
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {  // four rounds each
      const uint32x4_t sum = vaddq_u32(w[i % 4], vld1q_u32(sha256_constants.data() + 4 * i));
      if (i < 12) w[i % 4] = vsha256su1q_u32(vsha256su0q_u32(w[i % 4], w[(i + 1) % 4]), w[(i + 2) % 4], w[(i + 3) % 4]);
      const uint32x4_t before = abcd;
      abcd = vsha256hq_u32(abcd, efgh, sum);
      efgh = vsha256h2q_u32(efgh, before, sum);
    }
    abcd = vaddq_u32(abcd, abcd_before);
    efgh = vaddq_u32(efgh, efgh_before);
  }
  vst1q_u32(state, abcd);
  vst1q_u32(state + 4, efgh);
}

}  // namespace

Sha256Mixer sha256_of_processor() {
  constexpr unsigned long hwcap_sha2 = 1 << 6;
  return getauxval(AT_HWCAP) & hwcap_sha2 ? sha256_arm : nullptr;
}

}  // namespace attn

#else

namespace attn {

Sha256Mixer sha256_of_processor() { return nullptr; }

}  // namespace attn

#endif
