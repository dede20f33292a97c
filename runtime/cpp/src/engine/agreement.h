// Whether a graph is the one that its record tells of. The Python twin is check_agreement of attn_runtime/ort/engine.py.
#pragma once

#include <string>
#include <vector>

#include "engine/engine.h"

namespace attn {

// Raises bundle_error where a record and a graph tell of different tensors: they belong to different models. `side` is "input" or "output".
void check_agreement(const std::vector<TensorSpec>& promised, const std::vector<TensorSpec>& found, const char* side, const GraphFile& graph);

}  // namespace attn
