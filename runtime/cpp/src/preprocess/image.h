// From pixels to the tensor that an image model takes, by the bundle's asset image.json. The Python twin is
// attn_runtime/preprocess/image.py, and the values are the same: those of Pillow and numpy.
#pragma once

#include <string>
#include <vector>

#include "format/json.h"
#include "preprocess/image_fit.h"
#include "preprocess/image_resize.h"

namespace attn {

struct ImageRecipe {
  std::string input;
  size_t height, width, channels;
  Filter resize;
  float scale;
  std::vector<float> mean, std;  // one of each per channel
  FitRecipe fit;
  std::vector<float> fill;      // one per channel
  std::vector<uint8_t> square;  // the same; empty where pictures are not made square
  bool bgr;

  static ImageRecipe of(const Json& asset);  // which has its form
};

// Pixels [height, width, channels], 1, 3 or 4 channels, as float32 [channels', height', width'] of the recipe at `out`. Transparent pixels
// are laid over white where the model takes no alpha. Raises input_error for no pixels, other channels, and a result or resized picture
// beyond reason.
void prepare_image(const uint8_t* pixels, size_t height, size_t width, size_t channels, const ImageRecipe& recipe, float* out);
// The checks of that which need no pixels.
void check_image(size_t height, size_t width, size_t channels, const ImageRecipe& recipe);

}  // namespace attn
