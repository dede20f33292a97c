// Pictures made smaller or larger as Pillow 13 does it, byte for byte: its filters, widened where a picture shrinks, in the fixed-point
// arithmetic of libImaging/Resample.c. Older ones differ in the order of both passes for some sizes, and so by a rounding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace attn {

// Interleaved channels: 1 grey, 3 colours, 4 colours and alpha.
struct Picture {
  size_t height, width, channels;
  std::vector<uint8_t> pixels;
};

enum class Filter { nearest, bilinear, bicubic, lanczos, hamming, box };

// Colours are weighted with their alpha, so that what nobody sees leaves no fringe. A picture of that size stays as it is.
Picture resized(const Picture& picture, size_t height, size_t width, Filter filter);

}  // namespace attn
