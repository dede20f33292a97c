// A recording that is to be transcribed, and the input that hears it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "format/json.h"
#include "util/spec.h"

namespace attn {

// Somebody else's samples [frames, channels].
struct Sound {
  const float* samples;
  size_t frames, channels;
  uint64_t rate;
};

// Called once it is sure that the bundle transcribes.
using ReadSound = std::function<Sound()>;

// The only one of `inputs`, float32 [batch, samples], that the asset `audio` is of. Raises usage_error where there is no such one.
const TensorSpec& wave_input(const std::vector<TensorSpec>& inputs, const Json& audio, const std::string& where);

}  // namespace attn
