#include "preprocess/audio.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <string>

#include "preprocess/resample.h"
#include "util/error.h"

namespace attn {
namespace {

constexpr uint64_t max_rate = 1000000;  // of a recording, in Hz
constexpr uint64_t max_samples = uint64_t{1} << 28;  // that resampling may make: a header that lies of its rate could ask for any number

std::vector<float> averaged(const float* samples, size_t frames, size_t channels) {
  std::vector<float> made(frames);
  for (size_t i = 0; i < frames; ++i) {
    const float* frame = samples + i * channels;
    made[i] = static_cast<float>(std::accumulate(frame, frame + channels, 0.0) / static_cast<double>(channels));
  }
  return made;
}

void clip(std::vector<float>& samples) {
  for (float& sample : samples) sample = std::clamp(sample, -1.0f, 1.0f);
}

// Where the `length` samples of most power (less the mean of all) start; the first of several that are equal.
size_t loudest(const std::vector<float>& samples, size_t length) {
  const double mean = std::accumulate(samples.begin(), samples.end(), 0.0) / static_cast<double>(samples.size());
  std::vector<double> sums = {0.0};
  sums.reserve(samples.size() + 1);
  for (const float sample : samples) {
    const double value = static_cast<double>(sample) - mean;
    sums.push_back(sums.back() + value * value);
  }
  double best = 0.0;
  for (size_t i = 0; i + length < sums.size(); ++i) best = std::max(best, sums[i + length] - sums[i]);
  // Sums of many samples differ by rounding; the first that is as good as the best is taken.
  const double enough = best - 1e-9 * std::max(sums.back(), 1e-30);
  size_t first = 0;
  while (sums[first + length] - sums[first] < enough) ++first;
  return first;
}

}  // namespace

uint64_t prepared_count(size_t frames, size_t channels, uint64_t rate, uint64_t to, uint64_t least, uint64_t most) {
  if (!channels || rate < 1 || rate > max_rate) {
    throw input_error("recording: " + std::to_string(channels) + " channels at " + std::to_string(rate) +
                      " Hz; expected 1 channel or more at 1.." + std::to_string(max_rate) + " Hz");
  }
  if (!frames) throw input_error("recording: holds no samples.");
  if (frames > std::numeric_limits<size_t>::max() / channels / sizeof(float)) {
    throw input_error("recording: " + std::to_string(frames) + " frames of " + std::to_string(channels) + " channels are more than memory");
  }
  // Each factor of the product that resampled_count forms fits 32 bits once this holds.
  const bool huge = frames > std::numeric_limits<uint64_t>::max() / to;
  const uint64_t count = huge ? max_samples + 1 : resampled_count(frames, rate, to);
  if (count > max_samples && count > frames) {
    throw input_error("recording: " + std::to_string(frames) + " samples at " + std::to_string(rate) + " Hz would be more than " +
                      std::to_string(max_samples) + " at " + std::to_string(to) + " Hz. Cut it.");
  }
  return std::clamp(count, least, std::max(least, most));
}

AudioRecipe AudioRecipe::of(const Json& asset) {
  AudioRecipe recipe{asset.at("sample_rate").get<uint64_t>()};
  const auto is_end = [&](const char* key) { return asset.contains(key) && asset.at(key) == "end"; };
  recipe.pad_end = is_end("pad");
  recipe.cut_end = is_end("cut");
  return recipe;
}

std::vector<float> whole_audio(const float* samples, size_t frames, size_t channels, uint64_t rate, uint64_t to) {
  prepared_count(frames, channels, rate, to, 1, 1);
  const auto bad = std::count_if(samples, samples + frames * channels, [](float value) { return !std::isfinite(value); });
  if (bad) throw input_error("recording: " + std::to_string(bad) + " samples are NaN or infinite.");
  std::vector<float> made = averaged(samples, frames, channels);
  clip(made);
  if (rate != to) {
    made = resample(made, rate, to);
    clip(made);  // the sinc overshoots at an edge of full scale
  }
  return made;
}

std::vector<float> prepare_audio(const float* samples, size_t frames, size_t channels, uint64_t rate, const AudioRecipe& recipe,
                                 uint64_t least, uint64_t most) {
  std::vector<float> made = whole_audio(samples, frames, channels, rate, recipe.rate);
  if (made.size() > most) {
    const auto start = made.begin() + static_cast<std::ptrdiff_t>(recipe.cut_end ? 0 : loudest(made, most));
    return {start, start + static_cast<std::ptrdiff_t>(most)};
  }
  if (made.size() < least) {
    // In the middle; where the zeros are odd in number, one more lies behind.
    std::vector<float> padded(least);
    const size_t before = recipe.pad_end ? 0 : (least - made.size()) / 2;
    std::copy(made.begin(), made.end(), padded.begin() + static_cast<std::ptrdiff_t>(before));
    return padded;
  }
  return made;
}

}  // namespace attn
