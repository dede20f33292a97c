// Execution providers of ONNX Runtime: whether they really load (it lists those it was built with, loading or not), and how
// they are added to a session. The Python twins are attn_runtime/ort/{providers,tensorrt_provider}.py and backends/ort_*.py.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "ort/library.h"

namespace attn {

constexpr const char* kCudaProvider = "CUDAExecutionProvider";
constexpr const char* kTensorrtProvider = "TensorrtExecutionProvider";
constexpr const char* kRtxProvider = "NvTensorRTRTXExecutionProvider";  // a plugin, in a library of its own

using ProviderOptions = std::vector<std::pair<std::string, std::string>>;

// None when the provider's libraries load in this process, else the reason.
std::optional<std::string> why_provider_fails(const OrtLibrary& library, const std::string& provider);

ProviderOptions cuda_options(const std::string& device);
// Makes the cache folder where there is one to be; raises usage_error where it can't be written, backend_error for a name that
// TensorRT's options can't hold.
ProviderOptions tensorrt_options(const GraphFile& graph, const std::string& device, const OpenOptions& options);
ProviderOptions rtx_options(const GraphFile& graph, const OpenOptions& options);

// The shapes to build for: {"min": "x:1x3x32x32,y:1x8", "opt": ..., "max": ...}; nothing where no input has a named dim.
ProviderOptions profile_shapes(const std::vector<TensorSpec>& specs, const std::string& where);

// Raise backend_error.
void append_cuda(const OrtLibrary& library, OrtSessionOptions& session, const ProviderOptions& options);
void append_tensorrt(const OrtLibrary& library, OrtSessionOptions& session, const ProviderOptions& options);

// A provider that comes as a plugin: ONNX Runtime loads its library, which offers devices.
struct Plugin {
  std::string provider;  // as it names itself
  std::string library;   // a path, or a name that the loader finds
};
// None when the headers and the library know plugins and this one registers, else the reason. Once per library and plugin.
std::optional<std::string> register_plugin(const OrtLibrary& library, const Plugin& plugin);
// The plugin's device at `address` (a PCI bus address); with "", its first one. Raises backend_error where it offers none.
void append_plugin(const OrtLibrary& library, OrtSessionOptions& session, const Plugin& plugin, const std::string& address,
                   const ProviderOptions& options);

}  // namespace attn
