// OpenVINO on the CPU, in the precision of the graph. The Python twin is attn_runtime/backends/openvino.py.
#pragma once

#include <memory>

#include "engine/engine.h"

namespace attn {

std::unique_ptr<Backend> openvino_backend();

}  // namespace attn
