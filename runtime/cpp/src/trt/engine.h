// A deserialized engine: what it tells of itself, and contexts on it. The Python twins are attn_runtime/trt/run/{executor,open_engine}.py.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "trt/gpu.h"
#include "trt/library.h"
#include "trt/profiles.h"

namespace attn {

struct TrtTensor {
  int32_t number;  // the plugin's
  std::string name;
  attn_dtype dtype;
  Shape shape;  // -1 for an axis that varies
  bool on_host;
};

// Shared by the engine and its bound calls, which may outlive it. Inputs and outputs are in the order of the graph's specs.
class TrtOpened {
 public:
  // `where` names the engine, `command` builds it. Raises engine_error where the library can't load `plan`, backend_error where the engine is
  // of another graph, whatever its key says.
  TrtOpened(const TrtLibrary& library, std::shared_ptr<Gpu> gpu, const std::vector<char>& plan, const GraphFile& graph, std::string where,
            std::string command);
  ~TrtOpened();
  TrtOpened(const TrtOpened&) = delete;
  TrtOpened& operator=(const TrtOpened&) = delete;

  // Raises backend_error unless `status`, a function's of the plugin, is 0.
  void check(int status, const char* why) const;
  attn_trt_context* open_context(size_t profile, void* stream, void* scratch) const;
  size_t profile_for(const std::vector<Shape>& inputs) const;  // raises input_error where no profile covers them

  const attn_trt_plugin& plugin;
  std::shared_ptr<Gpu> gpu;
  std::string where, command;
  std::vector<TrtTensor> inputs, outputs;
  uint64_t scratch_bytes = 0;

 private:
  void read_tensors(const GraphFile& graph);
  void read_profiles();

  attn_trt_engine* engine_ = nullptr;
  std::vector<std::string> names_;
  std::vector<TrtProfile> profiles_;
  mutable std::mutex creating_;  // contexts, one at a time
};

// An Engine over it.
std::unique_ptr<Engine> make_trt_engine(std::shared_ptr<TrtOpened> opened);

}  // namespace attn
