// A recording that is to be transcribed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace attn {

// Somebody else's samples [frames, channels].
struct Sound {
  const float* samples;
  size_t frames, channels;
  uint64_t rate;
};

// Called once it is sure that the bundle transcribes.
using ReadSound = std::function<Sound()>;

}  // namespace attn
