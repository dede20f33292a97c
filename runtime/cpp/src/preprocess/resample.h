// Change the sample rate of a signal: a windowed sinc, evaluated where the new samples lie. The Python twin, which tells more of it, is
// attn_runtime/preprocess/resampling.py.
#pragma once

#include <cstdint>
#include <vector>

namespace attn {

// How many samples `resample` makes of `count`: ceil(count * to / rate).
uint64_t resampled_count(uint64_t count, uint64_t rate, uint64_t to);

// The first samples of both are of the same moment; before the start and behind the end the signal is taken for 0.
std::vector<float> resample(const std::vector<float>& signal, uint64_t rate, uint64_t to);

}  // namespace attn
