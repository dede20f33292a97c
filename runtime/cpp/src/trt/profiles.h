// Which of an engine's profiles a call runs with. The Python twin is attn_runtime/trt/run/profile_choice.py.
#pragma once

#include <string>
#include <vector>

#include "util/spec.h"

namespace attn {

struct ProfileShapes {
  Shape min, opt, max;
};
using TrtProfile = std::vector<ProfileShapes>;  // of each input

// The number of the profile that covers `shapes` and was tuned for the nearest sizes; of several, the tightest. Raises input_error that
// names the input, the axis and what the profiles allow there, and how to build for more. `names` and `shapes` are the inputs'.
size_t choose_profile(const std::vector<TrtProfile>& profiles, const std::vector<std::string>& names, const std::vector<Shape>& shapes,
                      const std::string& where, const std::string& command);

}  // namespace attn
