// What runs a graph. A backend opens engines; neither checks names, dtypes or ranges: the session does that once, for all of them.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bundle/bundle.h"

namespace attn {

struct OpenOptions {
  std::string device = "auto";
  std::optional<std::string> backend, graph, precision, cache, library;
  int threads = 0;
  bool adapt = false;  // as many as cores are free: open_engine sees to it
  bool low_memory = false, stop_spinning = false;
  // Threads sleep between nodes too, and nodes are cut into pieces that get smaller: who has no core holds up nobody.
  bool share_cores = false;
  bool paranoid = false;  // a graph that was kept is read for its hash, whatever is remembered of it; no option of the interface

  static OpenOptions of(const attn_open_options* given);  // checks values and `size`; raises usage_error
};

// The note of an engine that runs float16 on a CPU.
constexpr char kHalfNote[] = "computes fp16 in fp32 between the nodes: an overflow of fp16 would not show";

// A call on fixed buffers. `run` allocates nothing, but where threads adapt. Raises backend_error.
class BoundCall {
 public:
  virtual ~BoundCall() = default;
  virtual void run() = 0;
};

// One graph in one precision, as a session hands it to a backend.
struct GraphFile {
  std::shared_ptr<const Bundle> bundle;
  const Graph* graph;
  const Precision* precision;
  std::string where;
  std::vector<TensorSpec> inputs, outputs;  // of this file: with half_io, float32 is float16

  std::vector<std::filesystem::path> files() const {  // that are read when it is opened
    std::vector<std::filesystem::path> found = precision->data;
    found.push_back(precision->file);
    return found;
  }
};

// Where one output of a run goes: to `view`, or, where its `data` is null, to new memory in `made`. Nowhere when it is not wanted.
struct Output {
  View view;
  Tensor made;
  bool wanted = true;
};

class Engine {
 public:
  virtual ~Engine() = default;
  // Buffers in the order of the graph's specs. May be called from many threads at once. Raises input_error, backend_error.
  virtual void run(const std::vector<View>& inputs, std::vector<Output>& outputs) = 0;
  virtual std::unique_ptr<BoundCall> bind(const std::vector<View>& inputs, const std::vector<View>& outputs) = 0;

  std::string note;  // what its answers do not tell, or is not as it could be; for people, in the session's choice
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual const char* name() const = 0;
  virtual bool automatic() const { return true; }  // whether it may be chosen; otherwise it has to be named
  virtual bool shares_cores() const { return false; }  // whether it heeds that option
  // None when it can use `device` ("cpu", "cuda", "cuda:1") here, else the reason and what to install, in one line.
  virtual std::optional<std::string> why_not(const std::string& device, const OpenOptions& options) = 0;
  virtual std::unique_ptr<Engine> open(const GraphFile& graph, const std::string& device, const OpenOptions& options) = 0;
};

}  // namespace attn
