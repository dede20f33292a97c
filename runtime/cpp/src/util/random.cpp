#include "util/random.h"

#include <array>
#include <cstddef>

namespace attn {
namespace {

// numpy.random.SeedSequence(seed).generate_state(4, uint64): numpy/random/bit_generator.pyx, after M.E. O'Neill's seed_seq_fe.
class SeedSequence {
 public:
  explicit SeedSequence(uint64_t seed) {
    // The seed's words, lowest first; numpy leaves out a high one of 0, and hashes a 0 in its place.
    const std::array<uint32_t, 4> entropy = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32), 0, 0};
    uint32_t constant = 0x43b0d7e5;
    const auto hashed = [&constant](uint32_t value) {
      value ^= constant;
      constant *= 0x931e8875;
      value *= constant;
      return value ^ value >> 16;
    };
    for (size_t i = 0; i < pool_.size(); ++i) pool_[i] = hashed(entropy[i]);
    for (size_t source = 0; source < pool_.size(); ++source) {
      for (size_t target = 0; target < pool_.size(); ++target) {
        if (source == target) continue;
        const uint32_t mixed = 0xca01f9dd * pool_[target] - 0x4973f715 * hashed(pool_[source]);
        pool_[target] = mixed ^ mixed >> 16;
      }
    }
  }

  std::array<uint64_t, 4> state() const {
    std::array<uint64_t, 4> found = {};
    uint32_t constant = 0x8b51f9dd;
    for (size_t i = 0; i < 2 * found.size(); ++i) {
      uint32_t word = pool_[i % pool_.size()] ^ constant;
      constant *= 0x58f38ded;
      word *= constant;
      word ^= word >> 16;
      found[i / 2] |= static_cast<uint64_t>(word) << 32 * (i % 2);
    }
    return found;
  }

 private:
  std::array<uint32_t, 4> pool_ = {};
};

}  // namespace

RandomStream::RandomStream(uint64_t seed) {
  const std::array<uint64_t, 4> words = SeedSequence(seed).state();
  increment_ = (static_cast<Wide>(words[2]) << 64 | words[3]) << 1 | 1;
  advance();
  state_ += static_cast<Wide>(words[0]) << 64 | words[1];
  advance();
}

void RandomStream::advance() {
  constexpr Wide multiplier = static_cast<Wide>(2549297995355413924ULL) << 64 | 4865540595714422341ULL;
  state_ = state_ * multiplier + increment_;
}

double RandomStream::next() {
  advance();
  // XSL-RR: both halves in one, turned by the highest six bits.
  const uint64_t folded = static_cast<uint64_t>(state_ >> 64) ^ static_cast<uint64_t>(state_);
  const auto turn = static_cast<unsigned>(state_ >> 122);
  const uint64_t drawn = folded >> turn | folded << (-turn & 63);
  return static_cast<double>(drawn >> 11) * 0x1p-53;
}

}  // namespace attn
