#include "trt/profiles.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "util/error.h"

namespace attn {
namespace {

// The first axis that does not fit, and how many axes fit; ordered by how much it tells.
struct Misfit {
  int fitting;
  size_t input, axis;

  bool operator<(const Misfit& other) const {
    // The one that fails at the earlier input is the larger.
    return std::make_tuple(fitting, other.input, axis) < std::make_tuple(other.fitting, input, other.axis);
  }
};

std::optional<Misfit> why_not(const TrtProfile& profile, const std::vector<Shape>& shapes) {
  int fitting = 0;
  std::optional<Misfit> first;
  for (size_t input = 0; input < shapes.size(); ++input) {
    for (size_t axis = 0; axis < shapes[input].size(); ++axis) {
      const int64_t size = shapes[input][axis];
      if (profile[input].min[axis] <= size && size <= profile[input].max[axis]) {
        ++fitting;
      } else if (!first) {
        first = Misfit{0, input, axis};
      }
    }
  }
  if (first) first->fitting = fitting;
  return first;
}

double logarithm(int64_t size) { return std::log2(static_cast<double>(size) + 1); }

// How far the sizes are from those that the profile was tuned for, in factors of two.
double distance(const TrtProfile& profile, const std::vector<Shape>& shapes) {
  double sum = 0;
  for (size_t input = 0; input < shapes.size(); ++input) {
    for (size_t axis = 0; axis < shapes[input].size(); ++axis) {
      sum += std::abs(logarithm(shapes[input][axis]) - logarithm(profile[input].opt[axis]));
    }
  }
  return sum;
}

double room(const TrtProfile& profile) {
  double sum = 0;
  for (const ProfileShapes& each : profile) {
    for (const int64_t size : each.max) sum += logarithm(size);
  }
  return sum;
}

std::string times(const Shape& shape) {
  std::string told;
  for (size_t axis = 0; axis < shape.size(); ++axis) told += (axis ? "x" : "") + std::to_string(shape[axis]);
  return told;
}

// The ranges that cover what the profiles cover and these shapes, in trtexec's words.
std::string options(const std::vector<TrtProfile>& profiles, const std::vector<std::string>& names, const std::vector<Shape>& shapes) {
  std::string low, best, high;
  const auto add = [](std::string& side, const std::string& name, const Shape& shape) {
    side += (side.empty() ? "" : ",") + name + ":" + times(shape);
  };
  for (size_t input = 0; input < shapes.size(); ++input) {
    const bool fixed = std::all_of(profiles.begin(), profiles.end(), [&](const TrtProfile& profile) {
      return profile[input].min == shapes[input] && profile[input].max == shapes[input];
    });
    if (fixed) continue;
    Shape least = shapes[input], most = shapes[input];
    for (const TrtProfile& profile : profiles) {
      for (size_t axis = 0; axis < least.size(); ++axis) {
        least[axis] = std::min(least[axis], profile[input].min[axis]);
        most[axis] = std::max(most[axis], profile[input].max[axis]);
      }
    }
    add(low, names[input], least);
    add(best, names[input], profiles[0][input].opt);
    add(high, names[input], most);
  }
  return "--minShapes " + low + " --optShapes " + best + " --maxShapes " + high;
}

}  // namespace

size_t choose_profile(const std::vector<TrtProfile>& profiles, const std::vector<std::string>& names, const std::vector<Shape>& shapes,
                      const std::string& where, const std::string& command) {
  std::optional<size_t> best;
  std::optional<Misfit> told;
  const auto order = [&](size_t number) { return std::make_pair(distance(profiles[number], shapes), room(profiles[number])); };
  for (size_t number = 0; number < profiles.size(); ++number) {
    if (const auto misfit = why_not(profiles[number], shapes)) {
      if (!told || *told < *misfit) told = misfit;
    } else if (!best || order(number) < order(*best)) {
      best = number;
    }
  }
  if (best) return *best;
  if (!told) throw backend_error(where + ": the engine has no profile. Build it again: " + command);
  const auto [fitting, input, axis] = *told;
  std::set<std::pair<int64_t, int64_t>> ranges;
  for (const TrtProfile& profile : profiles) ranges.emplace(profile[input].min[axis], profile[input].max[axis]);
  std::string allowed;
  for (const auto& [low, high] : ranges) {
    allowed += (allowed.empty() ? "" : ", ") + (low == high ? std::to_string(low) : std::to_string(low) + ".." + std::to_string(high));
  }
  throw input_error("input \"" + names[input] + "\": got " + text(shapes[input]) + "; axis " + std::to_string(axis) + " is " +
                    std::to_string(shapes[input][axis]) + ", the engine was built for " + allowed +
                    (profiles.size() > 1 ? " (in several profiles)" : "") + " (" + where + "). Build it for more: " + command + " " +
                    options(profiles, names, shapes));
}

}  // namespace attn
