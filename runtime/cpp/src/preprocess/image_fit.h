// How a picture of any size comes into an image tensor of one size. The Python twin, which says what each key means and whose arithmetic it
// is, is attn_runtime/preprocess/image_fit.py; the numbers are the same.
#pragma once

#include <cstddef>
#include <cstdint>

#include "format/json.h"

namespace attn {

enum class Fit { stretch, shortest_edge, edges, inside, cover, none };
enum class Place { center, center_rounded, top_left };

struct FitRecipe {
  Fit fit;
  bool to_nearest;  // else down
  Place place;
  size_t height, width;          // of the tensor
  size_t fit_height, fit_width;  // of stretch, inside and cover
  size_t shortest_edge, longest_edge;
  size_t multiple;   // of which the sides are, 1 without one
  bool multiple_up;  // else down

  static FitRecipe of(const Json& asset);  // which has its form
};

// The picture is made height x width pixels, and its upper left corner comes to row `top`, column `left` of the tensor; below 0 where it is
// cropped.
struct Placement {
  size_t height, width;
  int64_t top, left;
};

Placement placement(const FitRecipe& recipe, size_t height, size_t width);

}  // namespace attn
