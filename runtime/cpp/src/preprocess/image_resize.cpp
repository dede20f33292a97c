#include "preprocess/image_resize.h"

#include <algorithm>
#include <cmath>

namespace attn {
namespace {

constexpr int precision_bits = 32 - 8 - 2;  // of the weights: eight bits are the pixel's, two are room for negative lobes

double triangle(double x) {
  x = std::abs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  return x < 2.0 ? (((x - 5) * x + 8) * x - 4) * a : 0.0;
}

constexpr double pi = 3.14159265358979323846;

double sinc(double x) { return x == 0.0 ? 1.0 : std::sin(x * pi) / (x * pi); }

double lanczos(double x) { return -3.0 <= x && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0; }

double hamming(double x) {
  x = std::abs(x);
  if (x == 0.0) return 1.0;
  if (x >= 1.0) return 0.0;
  x *= pi;
  return std::sin(x) / x * (0.54f + 0.46f * std::cos(x));  // Pillow has these two as floats
}

double box(double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }

// A kernel, and how far from its middle it ends.
struct Kernel {
  double (*weight)(double);
  double support;
};

Kernel kernel_of(Filter filter) {
  switch (filter) {
    case Filter::bicubic:
      return {cubic, 2.0};
    case Filter::lanczos:
      return {lanczos, 3.0};
    case Filter::hamming:
      return {hamming, 1.0};
    case Filter::box:
      return {box, 0.5};
    default:
      return {triangle, 1.0};
  }
}

// What each pixel of one axis is made of: `counts[i]` pixels from `firsts[i]` on, times the weights from i * room on.
struct Weights {
  std::vector<size_t> firsts, counts;
  std::vector<int32_t> values;
  size_t room;
};

Weights weights_of(size_t from, size_t to, Filter filter) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double widened = std::max(scale, 1.0);
  const Kernel kernel = kernel_of(filter);
  const double support = kernel.support * widened;
  Weights found;
  found.room = static_cast<size_t>(std::ceil(support)) * 2 + 1;
  found.values.resize(to * found.room);
  std::vector<double> exact(found.room);
  for (size_t i = 0; i < to; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const auto first = static_cast<size_t>(std::max(0.0, centre - support + 0.5));
    const auto end = std::min(from, static_cast<size_t>(centre + support + 0.5));
    double sum = 0.0;
    for (size_t k = 0; k < end - first; ++k) {
      const double at = (static_cast<double>(k + first) - centre + 0.5) * (1.0 / widened);
      exact[k] = kernel.weight(at);
      sum += exact[k];
    }
    for (size_t k = 0; k < end - first; ++k) {
      const double share = (sum != 0.0 ? exact[k] / sum : exact[k]) * (1 << precision_bits);
      found.values[i * found.room + k] = static_cast<int32_t>(share < 0 ? share - 0.5 : share + 0.5);
    }
    found.firsts.push_back(first);
    found.counts.push_back(end - first);
  }
  return found;
}

uint8_t rounded(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> precision_bits, 0, 255)); }

// One axis at a time, with whole pixels in between, as Pillow has it.
Picture across(const Picture& picture, size_t width, Filter filter) {
  const Weights weights = weights_of(picture.width, width, filter);
  const size_t channels = picture.channels;
  Picture made{picture.height, width, channels, std::vector<uint8_t>(picture.height * width * channels)};
  uint8_t* out = made.pixels.data();
  for (size_t y = 0; y < picture.height; ++y) {
    const uint8_t* row = &picture.pixels[y * picture.width * channels];
    for (size_t x = 0; x < width; ++x) {
      const int32_t* weight = &weights.values[x * weights.room];
      for (size_t c = 0; c < channels; ++c) {
        const uint8_t* in = row + weights.firsts[x] * channels + c;
        int32_t sum = 1 << (precision_bits - 1);
        for (size_t k = 0; k < weights.counts[x]; ++k) sum += in[k * channels] * weight[k];
        *out++ = rounded(sum);
      }
    }
  }
  return made;
}

Picture down(const Picture& picture, size_t height, Filter filter) {
  const Weights weights = weights_of(picture.height, height, filter);
  const size_t row = picture.width * picture.channels;
  Picture made{height, picture.width, picture.channels, std::vector<uint8_t>(height * row)};
  std::vector<int32_t> sums(row);
  for (size_t y = 0; y < height; ++y) {
    std::fill(sums.begin(), sums.end(), 1 << (precision_bits - 1));
    for (size_t k = 0; k < weights.counts[y]; ++k) {
      const uint8_t* in = &picture.pixels[(weights.firsts[y] + k) * row];
      const int32_t weight = weights.values[y * weights.room + k];
      for (size_t x = 0; x < row; ++x) sums[x] += in[x] * weight;
    }
    std::transform(sums.begin(), sums.end(), &made.pixels[y * row], rounded);
  }
  return made;
}

// Which pixel of one axis each new one is; `from` where rounding leads behind the last.
std::vector<size_t> nearest(size_t from, size_t to) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  std::vector<size_t> found;
  double at = scale * 0.5;  // summed up, as Pillow does: a product would round to another pixel now and then
  for (size_t i = 0; i < to; ++i, at += scale) found.push_back(std::min(static_cast<size_t>(at), from));
  return found;
}

Picture picked(const Picture& picture, size_t height, size_t width) {
  const size_t channels = picture.channels;
  Picture made{height, width, channels, std::vector<uint8_t>(height * width * channels)};
  const std::vector<size_t> rows = nearest(picture.height, height), columns = nearest(picture.width, width);
  for (size_t y = 0; y < height; ++y) {
    for (size_t x = 0; x < width; ++x) {
      if (rows[y] == picture.height || columns[x] == picture.width) continue;
      const uint8_t* in = &picture.pixels[(rows[y] * picture.width + columns[x]) * channels];
      std::copy_n(in, channels, &made.pixels[(y * width + x) * channels]);
    }
  }
  return made;
}

// a * b / 255, rounded.
uint8_t product(uint8_t a, uint8_t b) {
  const unsigned whole = unsigned{a} * b + 128;
  return static_cast<uint8_t>(((whole >> 8) + whole) >> 8);
}

void weigh_with_alpha(Picture& picture) {
  for (size_t i = 0; i < picture.pixels.size(); i += 4) {
    for (size_t c = 0; c < 3; ++c) picture.pixels[i + c] = product(picture.pixels[i + c], picture.pixels[i + 3]);
  }
}

void weigh_without_alpha(Picture& picture) {
  for (size_t i = 0; i < picture.pixels.size(); i += 4) {
    const unsigned alpha = picture.pixels[i + 3];
    if (alpha == 0 || alpha == 255) continue;
    for (size_t c = 0; c < 3; ++c) {
      picture.pixels[i + c] = static_cast<uint8_t>(std::min(255u, 255u * picture.pixels[i + c] / alpha));
    }
  }
}

// Since Pillow 13 a picture that loses far more rows than columns is made lower before it is made narrower. The order shows, since what lies
// in between is rounded to whole values.
bool loses_height(const Picture& picture, size_t height, size_t width) {
  const auto rows = static_cast<int64_t>(picture.height) - static_cast<int64_t>(height);
  const auto columns = static_cast<int64_t>(picture.width) - static_cast<int64_t>(width);
  return rows > 0 && rows > 2 * columns;
}

}  // namespace

Picture resized(const Picture& picture, size_t height, size_t width, Filter filter) {
  if (picture.height == height && picture.width == width) return picture;
  if (filter == Filter::nearest) return picked(picture, height, width);
  const bool alpha = picture.channels == 4;
  Picture made = picture;
  if (alpha) weigh_with_alpha(made);
  const bool down_first = loses_height(made, height, width);
  if (down_first) made = down(made, height, filter);
  if (made.width != width) made = across(made, width, filter);
  if (made.height != height) made = down(made, height, filter);
  if (alpha) weigh_without_alpha(made);
  return made;
}

}  // namespace attn
