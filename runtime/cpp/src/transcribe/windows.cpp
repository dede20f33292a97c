#include "transcribe/windows.h"

#include <algorithm>
#include <cmath>

namespace attn {
namespace {

// Windows reach this share of their length over the place where they are joined, on each side, as transformers' pipeline has it.
constexpr double side_share = 1.0 / 6;

// To the nearest whole number, and of two that are equally near to the even one, as in Python.
int64_t rounded(double value) { return static_cast<int64_t>(std::nearbyint(value)); }

}  // namespace

Window::Kept Window::kept(int64_t frame) const {
  const int64_t frames = rounded(static_cast<double>(samples()) / static_cast<double>(frame));
  const auto in_frames = [&](int64_t side) {
    return rounded(static_cast<double>(side) / static_cast<double>(samples()) * static_cast<double>(frames));
  };
  return {in_frames(left), frames - in_frames(right)};
}

std::vector<Window> overlapping(int64_t samples, int64_t most, int64_t frame) {
  if (samples <= most) return {{0, samples}};
  const int64_t length = most / frame * frame;
  const int64_t side = rounded(static_cast<double>(most) * side_share / static_cast<double>(frame)) * frame;
  const int64_t step = length - 2 * side;
  if (step < frame) return behind_each_other(samples, std::max<int64_t>(length, 1));  // too few frames in a window to share some
  std::vector<Window> found;
  for (int64_t start = 0;; start += step) {
    const bool last = start + length >= samples;
    found.push_back({start, std::min(start + length, samples), start ? side : 0, last ? 0 : side});
    if (last) return found;
  }
}

std::vector<Window> behind_each_other(int64_t samples, int64_t most) {
  std::vector<Window> found;
  for (int64_t start = 0; start < std::max<int64_t>(samples, 1); start += most) found.push_back({start, std::min(start + most, samples)});
  return found;
}

size_t equally_long(const std::vector<Window>& windows, size_t begin, size_t most) {
  size_t count = 1;
  while (count < most && begin + count < windows.size() && windows[begin + count].samples() == windows[begin].samples()) ++count;
  return count;
}

}  // namespace attn
