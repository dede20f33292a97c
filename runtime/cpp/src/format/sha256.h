// SHA-256 (FIPS 180-4), with the processor's own instructions where it has them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace attn {

class Sha256 {
 public:
  void update(const void* data, size_t bytes);
  std::string hexadecimal();  // lower case; ends the digest

 private:
  std::array<uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<uint8_t, 64> block_{};
  size_t filled_ = 0;  // of block_
  uint64_t bytes_ = 0;
};

std::string sha256_of_text(const std::string& text);

// What mixes whole blocks of 64 bytes into a state, and the fastest of them that this machine has.
using Sha256Mixer = void (*)(uint32_t state[8], const uint8_t* data, size_t blocks);
void sha256_portable(uint32_t state[8], const uint8_t* data, size_t blocks);
Sha256Mixer sha256_fastest();

}  // namespace attn
