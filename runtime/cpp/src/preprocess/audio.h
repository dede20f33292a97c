// From a recording to the waveform that an audio model takes, by the bundle's asset audio.json. The Python twin is
// attn_runtime/preprocess/audio.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace attn {

// Samples [frames, channels] at `rate` Hz as one channel at `to` Hz, of `least` to `most` samples: averaged over the channels, clipped to
// full scale and resampled. What is shorter lies in the middle of silence, of what is longer the loudest stretch is taken. Raises
// input_error for no samples, samples that are not finite, and a rate that can't be.
std::vector<float> prepare_audio(const float* samples, size_t frames, size_t channels, uint64_t rate, uint64_t to, uint64_t least,
                                 uint64_t most);

// How many samples that gives. Raises input_error as it does, but for the samples themselves.
uint64_t prepared_count(size_t frames, size_t channels, uint64_t rate, uint64_t to, uint64_t least, uint64_t most);

}  // namespace attn
