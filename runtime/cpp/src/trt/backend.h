// The backend "trt": a compiled TensorRT or TensorRT-RTX engine on an NVIDIA GPU. The Python twin is attn_runtime/backends/trt.py.
#pragma once

#include <memory>

#include "engine/engine.h"

namespace attn {

std::unique_ptr<Backend> trt_backend();

}  // namespace attn
