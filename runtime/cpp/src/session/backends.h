// Every backend of this build.
#pragma once

#include <memory>
#include <vector>

#include "engine/engine.h"

namespace attn {

// In the order in which a choice is made.
const std::vector<std::unique_ptr<Backend>>& backends();

}  // namespace attn
