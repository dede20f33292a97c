#include "format/sha256.h"

#include <algorithm>
#include <cstring>

#include "format/sha256_steps.h"

namespace attn {
namespace {

constexpr size_t block_bytes = 64;

uint32_t rotated(uint32_t x, int by) { return (x >> by) | (x << (32 - by)); }

uint32_t big_endian(const uint8_t* data) {
  return uint32_t{data[0]} << 24 | uint32_t{data[1]} << 16 | uint32_t{data[2]} << 8 | uint32_t{data[3]};
}

}  // namespace

void sha256_portable(uint32_t state[8], const uint8_t* data, size_t blocks) {
  for (; blocks; --blocks, data += block_bytes) {
    uint32_t w[64];
    for (size_t i = 0; i < 16; ++i) w[i] = big_endian(data + 4 * i);
    for (size_t i = 16; i < 64; ++i) {
      const uint32_t s0 = rotated(w[i - 15], 7) ^ rotated(w[i - 15], 18) ^ (w[i - 15] >> 3);
      const uint32_t s1 = rotated(w[i - 2], 17) ^ rotated(w[i - 2], 19) ^ (w[i - 2] >> 10);
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7];
    for (size_t i = 0; i < 64; ++i) {
      const uint32_t s1 = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25);
      const uint32_t t1 = h + s1 + ((e & f) ^ (~e & g)) + sha256_constants[i] + w[i];
      const uint32_t s0 = rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22);
      const uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
      h = g;
      g = f;
      f = e;
      e = d + t1;
      d = c;
      c = b;
      b = a;
      a = t1 + t2;
    }
    const uint32_t after[8] = {a, b, c, d, e, f, g, h};
    for (size_t i = 0; i < 8; ++i) state[i] += after[i];
  }
}

Sha256Mixer sha256_fastest() {
  static const Sha256Mixer fastest = [] {
    const Sha256Mixer own = sha256_of_processor();
    return own ? own : sha256_portable;
  }();
  return fastest;
}

void Sha256::update(const void* data, size_t bytes) {
  const Sha256Mixer mix = sha256_fastest();
  const auto* at = static_cast<const uint8_t*>(data);
  bytes_ += bytes;
  if (filled_) {
    const size_t part = std::min(bytes, block_bytes - filled_);
    std::memcpy(block_.data() + filled_, at, part);
    filled_ += part;
    at += part;
    bytes -= part;
    if (filled_ < block_bytes) return;
    mix(state_.data(), block_.data(), 1);
    filled_ = 0;
  }
  mix(state_.data(), at, bytes / block_bytes);
  filled_ = bytes % block_bytes;
  if (filled_) std::memcpy(block_.data(), at + (bytes - filled_), filled_);
}

std::string Sha256::hexadecimal() {
  uint8_t length[8];
  for (size_t i = 0; i < 8; ++i) length[i] = static_cast<uint8_t>(bytes_ * 8 >> (56 - 8 * i));
  const uint8_t end = 0x80;
  const std::array<uint8_t, block_bytes> zeros{};
  update(&end, 1);
  update(zeros.data(), (block_bytes + 56 - filled_) % block_bytes);
  update(length, sizeof length);
  std::string text;
  for (const uint32_t word : state_) {
    for (int shift = 28; shift >= 0; shift -= 4) text += "0123456789abcdef"[word >> shift & 15];
  }
  return text;
}

std::string sha256_of_text(const std::string& text) {
  Sha256 digest;
  digest.update(text.data(), text.size());
  return digest.hexadecimal();
}

}  // namespace attn
