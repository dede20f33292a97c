#include "ort/backend.h"

#include <cstdlib>

#include "engine/gpus.h"
#include "ort/cores.h"
#include "ort/engine.h"
#include "ort/placement.h"
#include "ort/providers.h"
#include "ort/saved_graph.h"
#include "util/forks.h"

namespace attn {
namespace {

// Optimizers that are left out, ";" between them. On float16 graphs on the CPU, in 1.24 to 1.31, NchwcTransformer ends the process on Transpose
// before MatMul (microsoft/onnxruntime issue 28392), and the others read an epsilon of float16 as 1e-5: as attn_runtime/ort/session_options.py.
// In 1.18, AttentionFusion reads behind the end of a node's inputs and ends the process; 1.19 does not.
// On a CPU, SkipLayerNormalization takes several times as long as the Add and LayerNormalization that it is fused of.
std::string left_out(bool half, bool on_cpu, uint32_t api_version) {
  std::string names = half ? "NchwcTransformer;SimplifiedLayerNormFusion;LayerNormFusion;" : "";
  if (on_cpu) names += "SkipLayerNormFusion;";
  if (api_version < 19) names += "AttentionFusion;";
  if (!names.empty()) names.pop_back();
  return names;
}

std::string joined_notes(const std::string& a, const std::string& b) { return a.empty() ? b : a + "; " + b; }

// TensorRT may round float32 products, and no option of the providers forbids it.
std::string tf32_note() {
  const char* set = std::getenv("NVIDIA_TF32_OVERRIDE");
  if (set && std::string(set) == "0") return "";
  return "may round float32 products to TF32; set NVIDIA_TF32_OVERRIDE=0 before the process starts to keep float32";
}

class Ort : public Backend {
 public:
  const char* name() const override { return "ort"; }
  bool shares_cores() const override { return true; }

  std::optional<std::string> why_not(const std::string& device, const OpenOptions& options) override {
    return why_not_with(device, options, {kCudaProvider});
  }

  std::unique_ptr<Engine> open(const GraphFile& graph, const std::string& device, const OpenOptions& options) override {
    const OrtLibrary& library = OrtLibrary::load(options.library);
    if (device == "cpu") return open_ort(library, graph, device, options, "", nullptr);
    return open_ort(library, graph, device, options, kCudaProvider,
                    [&](OrtSessionOptions& session) { append_cuda(library, session, cuda_options(device)); });
  }

 protected:
  static std::optional<std::string> why_not_with(const std::string& device, const OpenOptions& options,
                                                 const std::vector<std::string>& providers) {
    try {
      const OrtLibrary& library = OrtLibrary::load(options.library);
      if (device == "cpu") return std::nullopt;
      // The driver first: without it no library helps.
      if (auto reason = why_no_gpu(device)) return reason;
      for (const std::string& provider : providers) {
        if (auto reason = why_provider_fails(library, provider)) return reason;
      }
      return std::nullopt;
    } catch (const Error& error) {
      return error.what();
    }
  }
};

class OrtTensorrt : public Ort {
 public:
  const char* name() const override { return "ort_tensorrt"; }
  bool automatic() const override { return false; }  // it builds engines for minutes at the first run

  std::optional<std::string> why_not(const std::string& device, const OpenOptions& options) override {
    if (device == "cpu") return "TensorRT needs a GPU; take device cuda";
    return why_not_with(device, options, {kTensorrtProvider, kCudaProvider});
  }

  std::unique_ptr<Engine> open(const GraphFile& graph, const std::string& device, const OpenOptions& options) override {
    const OrtLibrary& library = OrtLibrary::load(options.library);
    const ProviderOptions told = tensorrt_options(graph, device, options);
    auto engine = open_ort(library, graph, device, options, kTensorrtProvider, [&](OrtSessionOptions& session) {
      append_tensorrt(library, session, told);
      append_cuda(library, session, cuda_options(device));  // runs what TensorRT does not take
    });
    engine->note = joined_notes(engine->note, tf32_note());
    return engine;
  }
};

class OrtRtx : public Ort {
 public:
  const char* name() const override { return "ort_rtx"; }
  bool automatic() const override { return false; }  // it compiles the engine when it opens

  std::optional<std::string> why_not(const std::string& device, const OpenOptions& options) override {
    if (device == "cpu") return "TensorRT-RTX needs a GPU; take device cuda";
    if (auto reason = why_not_with(device, options, {})) return reason;
    return register_plugin(OrtLibrary::load(options.library), plugin());
  }

  std::unique_ptr<Engine> open(const GraphFile& graph, const std::string& device, const OpenOptions& options) override {
    const OrtLibrary& library = OrtLibrary::load(options.library);
    const ProviderOptions told = rtx_options(graph, options);
    auto engine = open_ort(library, graph, device, options, kRtxProvider, [&](OrtSessionOptions& session) {
      append_plugin(library, session, plugin(), gpu_bus_address(gpu_number(device)), told);
    });
    engine->note = joined_notes(engine->note, tf32_note());
    return engine;
  }

 private:
  static Plugin plugin() {
    const char* named = std::getenv("ATTN_ORT_RTX");
    return {kRtxProvider, named && *named ? named : "libonnxruntime_providers_nv_tensorrt_rtx.so"};
  }
};

}  // namespace

namespace {

// Without `told`, the graph is one that was optimised, and is computed as it stands. `save_to`: where its optimised form is to be written.
OrtHeld<OrtSession> create_session(const OrtLibrary& library, const GraphFile& graph, const std::string& device, const OpenOptions& options,
                                   const std::filesystem::path& file, const ConfigEntries& told, const std::filesystem::path* save_to,
                                   PlacementLog* log, const std::function<void(OrtSessionOptions&)>& add_providers) {
  const OrtApi& api = *library.api;
  OrtSessionOptions* raw = nullptr;
  library.check(api.CreateSessionOptions(&raw));
  const OrtHeld<OrtSessionOptions> session_options = held(raw, api.ReleaseSessionOptions);
  const auto say = [&](const char* key, const char* value) { library.check(api.AddSessionConfigEntry(raw, key, value)); };
  library.check(api.SetIntraOpNumThreads(raw, options.threads ? options.threads : default_threads()));
  for (const auto& [key, value] : told) {
    if (!value.empty()) say(key.c_str(), value.c_str());
  }
  if (options.low_memory && device == "cpu") say("session.disable_prepacking", "1");
  if (told.empty()) library.check(api.SetSessionGraphOptimizationLevel(raw, ORT_DISABLE_ALL));
  if (save_to) library.check(api.SetOptimizedModelFilePath(raw, save_to->c_str()));
  if (options.stop_spinning) say("session.force_spinning_stop", "1");
  if (options.share_cores) {
    say("session.intra_op.allow_spinning", "0");
    say("session.dynamic_block_base", "4");
  }
  if (log) {
    library.check(api.SetUserLoggingFunction(raw, PlacementLog::hear, log));
    library.check(api.SetSessionLogSeverityLevel(raw, ORT_LOGGING_LEVEL_VERBOSE));
    add_providers(*raw);
  } else {
    // Errors come as statuses; printing them as well would be chatter.
    library.check(api.SetSessionLogSeverityLevel(raw, ORT_LOGGING_LEVEL_FATAL));
  }
  OrtSession* session = nullptr;
  {
    const BeforeForks opening;  // ONNX Runtime has mutexes of the process's own, which a session takes while it is made
    auto failure = library.failure(api.CreateSession(library.env, file.c_str(), raw, &session));
    if (failure && failure->text.find("Attempt to replace the existing tensor") != std::string::npos) {
      // Two nodes read one weight, which 1.31.1 makes unsigned once for each under one name: as in attn_runtime/ort/session_options.py.
      say("session.x64quantprecision", "0");
      failure = library.failure(api.CreateSession(library.env, file.c_str(), raw, &session));
    }
    if (failure) throw explain_open(*failure, graph.where, file.filename().string(), device);
  }
  return held(session, api.ReleaseSession);
}

}  // namespace

std::unique_ptr<Engine> open_ort(const OrtLibrary& library, const GraphFile& graph, const std::string& device, const OpenOptions& options,
                                 const std::string& provider, const std::function<void(OrtSessionOptions&)>& add_providers) {
  const bool half = graph.precision->type == "fp16";
  // What a quantised graph computes is what its file says: as in attn_runtime/ort/session_options.py.
  const ConfigEntries optimizers{{"session.qdq_matmulnbits_accuracy_level", "1"},
                                 {"session.x64quantprecision", "1"},
                                 {"session.disable_prepacking", options.low_memory && device == "cpu" ? "1" : "0"},
                                 {"optimization.disable_specified_optimizers", left_out(half, !add_providers, library.api_version)}};
  auto log = add_providers ? std::make_shared<PlacementLog>() : nullptr;
  const auto create = [&](const std::filesystem::path& file, const ConfigEntries& told, const std::filesystem::path* save_to) {
    return create_session(library, graph, device, options, file, told, save_to, log.get(), add_providers);
  };
  OrtHeld<OrtSession> keep;
  if (options.cache && !options.cache->empty() && !add_providers) {
    const SavedGraph saved(graph, *options.cache, library, optimizers);
    if (const auto file = saved.find(options.paranoid || graph.bundle->paranoid)) {
      try {
        keep = create(*file, {}, nullptr);
      } catch (const Error&) {  // what can't be loaded after all is made anew
      }
    }
    if (!keep) {
      saved.write([&](ConfigEntries told, const std::filesystem::path& file) {
        told.insert(optimizers.begin(), optimizers.end());
        keep = create(graph.precision->file, told, &file);
      });
    }
  } else {
    keep = create(graph.precision->file, optimizers, nullptr);
  }
  if (log) {
    log->stop();
    check_placed(log->placed(), graph.where, device, provider);
  }
  auto engine = make_ort_engine(library, std::move(keep), log, graph, device, add_providers ? OrtPlace::gpu : OrtPlace::host);
  if (half && device == "cpu") engine->note = kHalfNote;
  return engine;
}

std::unique_ptr<Backend> ort_backend() { return std::make_unique<Ort>(); }
std::unique_ptr<Backend> ort_tensorrt_backend() { return std::make_unique<OrtTensorrt>(); }
std::unique_ptr<Backend> ort_rtx_backend() { return std::make_unique<OrtRtx>(); }

}  // namespace attn
