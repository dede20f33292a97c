#include "preprocess/resample.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>

namespace attn {
namespace {

// Zero crossings of the sinc on each side, and the shape of Kaiser's window: 100 dB of stop band. The cut-off is a share of the lower
// Nyquist rate.
constexpr double crossings = 48, beta = 10.0, cutoff = 0.93;
constexpr size_t places = 8193;
constexpr double pi = 3.14159265358979323846;

// The modified Bessel function of order 0, for small x: all terms are positive, so none is lost.
double bessel_i0(double x) {
  double term = 1.0, sum = 1.0;
  for (int k = 1; term > sum * 1e-18; ++k) {
    term *= (x / 2 / k) * (x / 2 / k);
    sum += term;
  }
  return sum;
}

// The window is smooth: between these places a straight line will do.
const std::vector<double>& window() {
  static const std::vector<double> values = [] {
    std::vector<double> made(places);
    for (size_t i = 0; i < places; ++i) {
      const double place = static_cast<double>(i) / (places - 1);
      made[i] = bessel_i0(beta * std::sqrt(1 - place * place)) / bessel_i0(beta);
    }
    return made;
  }();
  return values;
}

double window_at(double place) {
  const std::vector<double>& values = window();
  const double scaled = place * (places - 1);
  const auto below = static_cast<size_t>(scaled);
  if (below >= places - 1) return values.back();
  return values[below] + (values[below + 1] - values[below]) * (scaled - static_cast<double>(below));
}

double sinc(double x) { return x == 0.0 ? 1.0 : std::sin(pi * x) / (pi * x); }

}  // namespace

uint64_t resampled_count(uint64_t count, uint64_t rate, uint64_t to) {
  const uint64_t common = std::gcd(rate, to), up = to / common, down = rate / common;
  return (count * up + down - 1) / down;
}

std::vector<float> resample(const std::vector<float>& signal, uint64_t rate, uint64_t to) {
  if (rate == to || signal.empty()) return signal;
  const uint64_t common = std::gcd(rate, to), up = to / common, down = rate / common;
  const double scale = cutoff * std::min(1.0, static_cast<double>(up) / static_cast<double>(down));
  const auto half = static_cast<int64_t>(std::ceil(crossings / scale));  // samples on each side that an output sample depends on
  const auto length = static_cast<int64_t>(signal.size());
  std::vector<float> out(resampled_count(signal.size(), rate, to));
  std::vector<double> weights(static_cast<size_t>(2 * half + 1));
  // Output n lies at input n * down / up. Every `up`-th has the same fraction, so the same weights.
  for (uint64_t phase = 0; phase < std::min<uint64_t>(up, out.size()); ++phase) {
    const double fraction = static_cast<double>(phase * down % up) / static_cast<double>(up);
    for (int64_t k = -half; k <= half; ++k) {
      const double distance = static_cast<double>(k) - fraction;
      const double shape = window_at(std::abs(distance) / static_cast<double>(half + 1));
      weights[static_cast<size_t>(k + half)] = scale * sinc(scale * distance) * shape;
    }
    for (uint64_t n = phase, middle = phase * down / up; n < out.size(); n += up, middle += down) {
      const auto at = static_cast<int64_t>(middle);
      double sum = 0.0;
      for (int64_t k = std::max(-half, -at); k <= std::min(half, length - 1 - at); ++k) {
        sum += static_cast<double>(signal[static_cast<size_t>(at + k)]) * weights[static_cast<size_t>(k + half)];
      }
      out[n] = static_cast<float>(sum);
    }
  }
  return out;
}

}  // namespace attn
