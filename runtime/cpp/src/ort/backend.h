// The backends that are ONNX Runtime: "ort" (CPU, CUDA), "ort_tensorrt" and "ort_rtx". The Python twins are attn_runtime/backends/ort*.py.
#pragma once

#include <functional>
#include <memory>

#include "engine/engine.h"
#include "ort/library.h"

namespace attn {

std::unique_ptr<Backend> ort_backend();
std::unique_ptr<Backend> ort_tensorrt_backend();
std::unique_ptr<Backend> ort_rtx_backend();

// Open `graph` with what `add_providers` puts before the CPU; `provider` has to take its work, or backend_error. Of "ort" on the CPU,
// both are empty. The seam at which the tests bring a provider of their own.
std::unique_ptr<Engine> open_ort(const OrtLibrary& library, const GraphFile& graph, const std::string& device, const OpenOptions& options,
                                 const std::string& provider, const std::function<void(OrtSessionOptions&)>& add_providers);

}  // namespace attn
