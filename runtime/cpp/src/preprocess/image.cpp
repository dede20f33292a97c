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

}  // namespace

ImageRecipe ImageRecipe::of(const Json& asset) {
  const auto floats = [&](const char* name) {
    std::vector<float> found;
    for (const Json& value : asset.at(name)) found.push_back(static_cast<float>(value.get<double>()));
    return found;
  };
  const auto resize = asset.at("resize").get<std::string>();
  return {asset.at("input").get<std::string>(),
          size_of(asset.at("height")),
          size_of(asset.at("width")),
          size_of(asset.at("channels")),
          resize == "nearest" ? Filter::nearest : resize == "bilinear" ? Filter::bilinear : Filter::bicubic,
          static_cast<float>(asset.at("scale").get<double>()),
          floats("mean"),
          floats("std")};
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
  const Picture picture =
      resized(converted(pixels, height, width, channels, recipe.channels), recipe.height, recipe.width, recipe.resize);
  for (size_t c = 0; c < recipe.channels; ++c) {
    // Rounded after each step, as numpy does: there are but 256 values.
    float values[256];
    for (size_t v = 0; v < 256; ++v) {
      const float scaled = static_cast<float>(v) * recipe.scale;
      values[v] = (scaled - recipe.mean[c]) / recipe.std[c];
    }
    const uint8_t* in = &picture.pixels[c];
    for (size_t i = 0; i < recipe.height * recipe.width; ++i, in += recipe.channels) *out++ = values[*in];
  }
}

}  // namespace attn
