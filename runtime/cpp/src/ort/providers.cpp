#include "ort/providers.h"

#include <dlfcn.h>

#include <algorithm>
#include <system_error>

#include "bundle/external_data.h"
#include "bundle/opened_files.h"
#include "engine/gpus.h"
#include "format/sha256.h"
#include "util/loader.h"

namespace attn {
namespace {

struct OwnLibrary {
  const char* provider;
  const char* file;
  const char* advice;
};
// The providers that live in a library of their own, and what brings the libraries which that one needs.
constexpr OwnLibrary kOwnLibraries[] = {
    {kCudaProvider, "libonnxruntime_providers_cuda.so", "install the CUDA and cuDNN that it was built for"},
    {kTensorrtProvider, "libonnxruntime_providers_tensorrt.so", "install the TensorRT and CUDA that it was built for"},
};

std::optional<std::string> why_library_fails(const std::filesystem::path& folder, const char* file) {
  // The provider's library takes symbols from the shared one and does not name it.
  const std::filesystem::path shared = folder / "libonnxruntime_providers_shared.so";
  if (dlopen(shared.c_str(), RTLD_NOW | RTLD_GLOBAL) && dlopen((folder / file).c_str(), RTLD_NOW | RTLD_LOCAL)) return std::nullopt;
  return said_by_loader();
}

std::vector<const char*> pointers(const ProviderOptions& options, bool of_values) {
  std::vector<const char*> found;
  for (const auto& [key, value] : options) found.push_back((of_values ? value : key).c_str());
  return found;
}

// The folder for what is built from this very graph, named by its content as in attn_runtime/ort/tensorrt_provider.py; none without a cache. The providers
// name an engine by the graph's file name and nodes, and would take one that was built with other weights.
std::optional<std::string> cache_folder(const GraphFile& graph, const OpenOptions& options) {
  if (!options.cache || options.cache->empty()) return std::nullopt;
  std::vector<std::filesystem::path> files{graph.precision->file};
  const auto data = check_external_data(graph.precision->file, graph.where);
  files.insert(files.end(), data.begin(), data.end());
  std::string hashes;
  std::vector<char> chunk;
  for (const auto& file : files) hashes += sha256_of(file, chunk);
  const std::filesystem::path folder = std::filesystem::path(*options.cache) / sha256_of_text(hashes).substr(0, 16);
  std::error_code problem;
  std::filesystem::create_directories(folder, problem);
  if (problem) {
    throw usage_error("cache " + *options.cache + ": can't be written (" + problem.message() +
                      "); name a folder that can, or leave cache out to build anew in every process");
  }
  return std::filesystem::absolute(folder).string();
}

}  // namespace

std::optional<std::string> why_provider_fails(const OrtLibrary& library, const std::string& provider) {
  if (std::find(library.providers.begin(), library.providers.end(), provider) == library.providers.end()) {
    return "this onnxruntime (" + library.version + ") is built without " + provider +
           "; name a build for GPUs in ATTN_ONNXRUNTIME, such as the one in the wheel of onnxruntime-gpu (on Jetson: NVIDIA's wheel)";
  }
  for (const OwnLibrary& own : kOwnLibraries) {
    if (provider != own.provider) continue;
    if (auto problem = why_library_fails(library.path.parent_path(), own.file)) {
      return provider + " does not load: " + *problem + "; " + own.advice;
    }
  }
  return std::nullopt;
}

ProviderOptions profile_shapes(const std::vector<TensorSpec>& specs, const std::string& where) {
  std::string shapes[3];
  int64_t Dim::*const ends[3] = {&Dim::min, &Dim::opt, &Dim::max};
  for (const TensorSpec& spec : specs) {
    if (std::none_of(spec.dims.begin(), spec.dims.end(), [](const Dim& dim) { return dim.name.has_value(); })) continue;
    if (spec.name.find_first_of(":,") != std::string::npos) {
      throw backend_error(where + ": the range of input \"" + spec.name +
                          "\" can't be told to TensorRT inside ONNX Runtime, which reads \":\" and \",\" as its own. Export it with "
                          "another input name, or take backend ort.");
    }
    for (size_t end = 0; end < 3; ++end) {
      shapes[end] += (shapes[end].empty() ? "" : ",") + spec.name + ":";
      for (size_t axis = 0; axis < spec.dims.size(); ++axis) {
        shapes[end] += (axis ? "x" : "") + std::to_string(spec.dims[axis].*ends[end]);
      }
    }
  }
  if (shapes[0].empty()) return {};
  return {{"min", shapes[0]}, {"opt", shapes[1]}, {"max", shapes[2]}};
}

ProviderOptions cuda_options(const std::string& device) {
  // float32 means float32: TF32 keeps 10 bits of the mantissa and would fail the stored tolerance.
  return {{"device_id", std::to_string(gpu_number(device))}, {"use_tf32", "0"}};
}

ProviderOptions tensorrt_options(const GraphFile& graph, const std::string& device, const OpenOptions& options) {
  // No trt_fp16_enable: it lets TensorRT compute an fp32 graph in fp16. Without it the types are those of the graph.
  ProviderOptions told{{"device_id", std::to_string(gpu_number(device))}};
  for (const auto& [end, shapes] : profile_shapes(graph.inputs, graph.where)) told.emplace_back("trt_profile_" + end + "_shapes", shapes);
  if (const auto folder = cache_folder(graph, options)) {
    for (const char* kind : {"engine", "timing"}) {
      told.emplace_back("trt_" + std::string(kind) + "_cache_enable", "1");
      told.emplace_back("trt_" + std::string(kind) + "_cache_path", *folder);
    }
  }
  return told;
}

ProviderOptions rtx_options(const GraphFile& graph, const OpenOptions& options) {
  ProviderOptions told;
  for (const auto& [end, shapes] : profile_shapes(graph.inputs, graph.where)) told.emplace_back("nv_profile_" + end + "_shapes", shapes);
  if (const auto folder = cache_folder(graph, options)) told.emplace_back("nv_runtime_cache_path", *folder);
  return told;
}

void append_cuda(const OrtLibrary& library, OrtSessionOptions& session, const ProviderOptions& options) {
  OrtCUDAProviderOptionsV2* cuda = nullptr;
  library.check(library.api->CreateCUDAProviderOptions(&cuda));
  const OrtHeld<OrtCUDAProviderOptionsV2> keep = held(cuda, library.api->ReleaseCUDAProviderOptions);
  library.check(library.api->UpdateCUDAProviderOptions(cuda, pointers(options, false).data(), pointers(options, true).data(), options.size()));
  library.check(library.api->SessionOptionsAppendExecutionProvider_CUDA_V2(&session, cuda));
}

void append_tensorrt(const OrtLibrary& library, OrtSessionOptions& session, const ProviderOptions& options) {
  OrtTensorRTProviderOptionsV2* tensorrt = nullptr;
  library.check(library.api->CreateTensorRTProviderOptions(&tensorrt));
  const OrtHeld<OrtTensorRTProviderOptionsV2> keep = held(tensorrt, library.api->ReleaseTensorRTProviderOptions);
  library.check(
      library.api->UpdateTensorRTProviderOptions(tensorrt, pointers(options, false).data(), pointers(options, true).data(), options.size()));
  library.check(library.api->SessionOptionsAppendExecutionProvider_TensorRT_V2(&session, tensorrt));
}

}  // namespace attn
