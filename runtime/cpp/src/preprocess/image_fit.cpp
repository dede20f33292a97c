#include "preprocess/image_fit.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

namespace attn {
namespace {

using Sides = std::pair<double, double>;  // height and width, whole numbers

double down_to_whole(double value) { return std::trunc(value); }
double half_to_even(double value) { return std::nearbyint(value); }

Sides of_shortest_edge(double height, double width, double edge) {
  const double longer = down_to_whole(edge * std::max(height, width) / std::min(height, width));
  return width <= height ? Sides{longer, edge} : Sides{edge, longer};
}

Sides of_edges(double height, double width, double shortest, double longest) {
  const double less = std::min(height, width), more = std::max(height, width);
  double exact = shortest;
  if (more / less * exact > longest) {
    exact = longest * less / more;
    shortest = half_to_even(exact);
  }
  if (less == shortest) return {height, width};
  if (width < height) return {down_to_whole(exact * height / width), shortest};
  return {shortest, down_to_whole(exact * width / height)};
}

Sides resized_sides(const FitRecipe& recipe, double height, double width) {
  const auto to_height = static_cast<double>(recipe.fit_height), to_width = static_cast<double>(recipe.fit_width);
  const bool inside = recipe.fit == Fit::inside;
  switch (recipe.fit) {
    case Fit::none:
      return {height, width};
    case Fit::stretch:
      return {to_height, to_width};
    case Fit::shortest_edge:
      return of_shortest_edge(height, width, static_cast<double>(recipe.shortest_edge));
    case Fit::edges:
      return of_edges(height, width, static_cast<double>(recipe.shortest_edge), static_cast<double>(recipe.longest_edge));
    default:
      break;
  }
  if (!recipe.to_nearest) {
    const double rows = to_height / height, columns = to_width / width;
    const double scale = inside ? std::min(rows, columns) : std::max(rows, columns);
    return {down_to_whole(height * scale), down_to_whole(width * scale)};
  }
  const double rows = height / to_height, columns = width / to_width;
  const double ratio = inside ? std::max(rows, columns) : std::min(rows, columns);
  return {half_to_even(height / ratio), half_to_even(width / ratio)};
}

// Of an axis of `size` pixels that is cropped or padded to `wanted`.
int64_t start(int64_t size, int64_t wanted, Place place) {
  if (place == Place::top_left) return 0;
  if (size <= wanted) return (wanted - size) / 2;
  if (place == Place::center) return -((size - wanted) / 2);
  return -static_cast<int64_t>(half_to_even(static_cast<double>(size - wanted) / 2.0));
}

}  // namespace

FitRecipe FitRecipe::of(const Json& asset) {
  const auto size = [&](const char* name, size_t other) { return asset.contains(name) ? asset.at(name).get<size_t>() : other; };
  const auto word = [&](const char* name) { return asset.contains(name) ? asset.at(name).get<std::string>() : std::string(); };
  const std::string fit = word("fit"), place = word("place");
  FitRecipe recipe{};
  recipe.fit = fit == "shortest_edge" ? Fit::shortest_edge
               : fit == "edges"       ? Fit::edges
               : fit == "inside"      ? Fit::inside
               : fit == "cover"       ? Fit::cover
               : fit == "none"        ? Fit::none
                                      : Fit::stretch;
  recipe.place = place == "top_left" ? Place::top_left : place == "center_rounded" ? Place::center_rounded : Place::center;
  recipe.to_nearest = word("rounding") == "nearest";
  recipe.height = asset.at("height").get<size_t>();
  recipe.width = asset.at("width").get<size_t>();
  recipe.fit_height = size("fit_height", recipe.height);
  recipe.fit_width = size("fit_width", recipe.width);
  recipe.shortest_edge = size("shortest_edge", 0);
  recipe.longest_edge = size("longest_edge", 0);
  recipe.multiple = size("multiple", 1);
  recipe.multiple_up = word("multiple_rounding") == "up";
  return recipe;
}

Placement placement(const FitRecipe& recipe, size_t height, size_t width) {
  const auto [rows, columns] = resized_sides(recipe, static_cast<double>(height), static_cast<double>(width));
  const auto whole = [&](double side) {
    const auto multiple = static_cast<int64_t>(recipe.multiple), up = recipe.multiple_up ? multiple - 1 : 0;
    return std::max<int64_t>((static_cast<int64_t>(side) + up) / multiple * multiple, 1);
  };
  const int64_t tall = whole(rows), wide = whole(columns);
  return {static_cast<size_t>(tall), static_cast<size_t>(wide), start(tall, static_cast<int64_t>(recipe.height), recipe.place),
          start(wide, static_cast<int64_t>(recipe.width), recipe.place)};
}

}  // namespace attn
