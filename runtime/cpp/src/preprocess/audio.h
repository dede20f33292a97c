// From a recording to the waveform that an audio model takes, by the bundle's asset audio.json. The Python twin is
// attn_runtime/preprocess/audio.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "format/json.h"

namespace attn {

struct AudioRecipe {
  uint64_t rate;          // of the input, in Hz
  bool pad_end = false;   // silence goes behind a recording that is too short, not around it
  bool cut_end = false;   // of one that is too long the first part is taken, not the loudest
  static AudioRecipe of(const Json& asset);
};

// Samples [frames, channels] at `rate` Hz as one channel at the recipe's rate, of `least` to `most` samples: averaged over the channels,
// clipped to full scale and resampled. What is shorter lies in silence, of what is longer a stretch is taken, as the recipe says. Raises
// input_error for no samples, samples that are not finite, and a rate that can't be.
std::vector<float> prepare_audio(const float* samples, size_t frames, size_t channels, uint64_t rate, const AudioRecipe& recipe,
                                 uint64_t least, uint64_t most);

// The same of the whole recording, as long as it is.
std::vector<float> whole_audio(const float* samples, size_t frames, size_t channels, uint64_t rate, uint64_t to);

// How many samples prepare_audio gives. Raises input_error as it does, but for the samples themselves.
uint64_t prepared_count(size_t frames, size_t channels, uint64_t rate, uint64_t to, uint64_t least, uint64_t most);

}  // namespace attn
