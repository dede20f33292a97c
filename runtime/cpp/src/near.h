// "Did you mean": the known name that is most like a given one.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace attn {

// The most similar of `known`, none where nothing is. As Python's difflib.get_close_matches measures it.
std::optional<std::string> nearest(const std::string& name, const std::vector<std::string>& known);

}  // namespace attn
