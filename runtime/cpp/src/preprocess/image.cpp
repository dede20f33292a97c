#include "preprocess/image.h"

#include <algorithm>
#include <cstdint>

#include "util/error.h"

namespace attn {
namespace {

constexpr size_t max_pixels = 89478485;  // as many as Pillow takes

size_t size_of(const Json& value) { return value.get<size_t>(); }

// Over opaque white, in the arithmetic of libImaging/AlphaComposite.c.
Picture over_white(const Picture& picture) {
  Picture made{picture.height, picture.width, 3, std::vector<uint8_t>(picture.height * picture.width * 3)};
  const auto div255 = [](uint32_t value) { return ((value >> 8) + value) >> 8; };
  for (size_t i = 0; i < picture.height * picture.width; ++i) {
    const uint8_t* in = &picture.pixels[i * 4];
    const uint32_t alpha = in[3];
    const uint32_t share = alpha * (1 << 7), rest = 255 * (1 << 7) - share;  // of 255, in 1/128
    for (size_t c = 0; c < 3; ++c) {
      made.pixels[i * 3 + c] = static_cast<uint8_t>(alpha ? div255(in[c] * share + 255 * rest + (0x80 << 7)) >> 7 : 255);
    }
  }
  return made;
}

// In the channels that the model takes, as Pillow's convert does it.
Picture converted(const uint8_t* pixels, size_t height, size_t width, size_t channels, size_t wanted) {
  Picture picture{height, width, channels, std::vector<uint8_t>(pixels, pixels + height * width * channels)};
  if (channels == wanted) return picture;
  if (channels == 4) picture = over_white(picture);
  if (picture.channels == wanted) return picture;
  Picture made{height, width, wanted, std::vector<uint8_t>(height * width * wanted, 255)};  // alpha is opaque
  for (size_t i = 0; i < height * width; ++i) {
    const uint8_t* in = &picture.pixels[i * picture.channels];
    uint8_t* out = &made.pixels[i * wanted];
    if (wanted == 1) {
      *out = static_cast<uint8_t>((in[0] * 19595 + in[1] * 38470 + in[2] * 7471 + 0x8000) >> 16);
    } else {
      for (size_t c = 0; c < 3; ++c) out[c] = in[picture.channels == 1 ? 0 : c];
    }
  }
  return made;
}

Filter filter_of(const std::string& name) {
  if (name == "nearest") return Filter::nearest;
  if (name == "bilinear") return Filter::bilinear;
  if (name == "bicubic") return Filter::bicubic;
  if (name == "lanczos") return Filter::lanczos;
  return name == "hamming" ? Filter::hamming : Filter::box;
}

// A narrow picture whose shorter side is made longer has a longer one beyond reason.
void refuse_large(size_t rows, size_t columns, size_t height, size_t width) {
  if (height > max_pixels || width > max_pixels || height * width > max_pixels) {
    throw input_error("image: " + std::to_string(columns) + " x " + std::to_string(rows) + " pixels would become " +
                      std::to_string(width) + " x " + std::to_string(height) + "; at most " + std::to_string(max_pixels) +
                      " are made. Cut it.");
  }
}

// In the middle of a square of its longer side.
Picture squared(const Picture& picture, const std::vector<uint8_t>& colour) {
  const size_t side = std::max(picture.height, picture.width), channels = picture.channels;
  Picture made{side, side, channels, std::vector<uint8_t>(side * side * channels)};
  for (size_t i = 0; i < made.pixels.size(); ++i) made.pixels[i] = colour[i % channels];
  const size_t top = (side - picture.height) / 2, left = (side - picture.width) / 2, row = picture.width * channels;
  for (size_t y = 0; y < picture.height; ++y) {
    std::copy_n(&picture.pixels[y * row], row, &made.pixels[((top + y) * side + left) * channels]);
  }
  return made;
}

}  // namespace

ImageRecipe ImageRecipe::of(const Json& asset) {
  const auto floats = [&](const char* name) {
    std::vector<float> found;
    for (const Json& value : asset.at(name)) found.push_back(static_cast<float>(value.get<double>()));
    return found;
  };
  std::vector<float> fill(size_of(asset.at("channels")), 0.0f);
  if (asset.contains("fill")) fill = floats("fill");
  std::vector<uint8_t> square;
  if (asset.contains("square")) {
    for (const Json& value : asset.at("square")) square.push_back(static_cast<uint8_t>(value.get<int>()));
  }
  return {asset.at("input").get<std::string>(),
          size_of(asset.at("height")),
          size_of(asset.at("width")),
          size_of(asset.at("channels")),
          filter_of(asset.at("resize").get<std::string>()),
          static_cast<float>(asset.at("scale").get<double>()),
          floats("mean"),
          floats("std"),
          FitRecipe::of(asset),
          fill,
          square,
          asset.contains("channel_order") && asset.at("channel_order").get<std::string>() == "bgr"};
}

void check_image(size_t height, size_t width, size_t channels, const ImageRecipe& recipe) {
  if (recipe.height * recipe.width > max_pixels) {
    throw input_error("the image recipe asks for " + std::to_string(recipe.width) + " x " + std::to_string(recipe.height) +
                      " pixels; at most " + std::to_string(max_pixels) + " are made.");
  }
  const std::string got =
      "image: got [" + std::to_string(height) + ", " + std::to_string(width) + ", " + std::to_string(channels) + "]";
  if (channels != 1 && channels != 3 && channels != 4) throw input_error(got + "; expected uint8 [H, W, 1], [H, W, 3] or [H, W, 4]");
  if (!height || !width) throw input_error(got + ", which has no pixels");
  if (height > max_pixels || width > max_pixels || height * width > max_pixels) {
    throw input_error(got + ": more than " + std::to_string(max_pixels) + " pixels. Make it smaller.");
  }
}

void prepare_image(const uint8_t* pixels, size_t height, size_t width, size_t channels, const ImageRecipe& recipe, float* out) {
  check_image(height, width, channels, recipe);
  Picture picture = converted(pixels, height, width, channels, recipe.channels);
  if (!recipe.square.empty()) {
    const size_t side = std::max(height, width);
    refuse_large(height, width, side, side);
    picture = squared(picture, recipe.square);
  }
  const Placement placed = placement(recipe.fit, picture.height, picture.width);
  refuse_large(picture.height, picture.width, placed.height, placed.width);
  picture = resized(picture, placed.height, placed.width, recipe.resize);
  const auto rows = static_cast<int64_t>(placed.height), columns = static_cast<int64_t>(placed.width);
  // The part of the tensor that the picture comes to.
  const auto tall = static_cast<int64_t>(recipe.height), wide = static_cast<int64_t>(recipe.width);
  const int64_t top = std::max<int64_t>(placed.top, 0), bottom = std::min(placed.top + rows, tall);
  const int64_t left = std::max<int64_t>(placed.left, 0), right = std::min(placed.left + columns, wide);
  for (size_t c = 0; c < recipe.channels; ++c) {
    const size_t from = recipe.bgr && c < 3 && recipe.channels > 2 ? 2 - c : c;
    // Rounded after each step, as numpy does: there are but 256 values.
    const auto made = [&](float value) {
      const float scaled = value * recipe.scale;
      return (scaled - recipe.mean[c]) / recipe.std[c];
    };
    float values[256];
    for (size_t v = 0; v < 256; ++v) values[v] = made(static_cast<float>(v));
    const float filled = made(recipe.fill[from]);
    for (int64_t y = 0; y < tall; ++y) {
      if (y < top || y >= bottom) {
        out = std::fill_n(out, wide, filled);
        continue;
      }
      out = std::fill_n(out, left, filled);
      const auto first = static_cast<size_t>((y - placed.top) * columns + left - placed.left);
      const uint8_t* in = &picture.pixels[first * recipe.channels + from];
      for (int64_t x = left; x < right; ++x, in += recipe.channels) *out++ = values[*in];
      out = std::fill_n(out, wide - right, filled);
    }
  }
}

}  // namespace attn
