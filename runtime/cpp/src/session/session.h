// An open graph: names, dtypes and ranges are checked here, once for every backend. The Python twin is attn_runtime/session/session.py.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "util/forks.h"

namespace attn {

// input_error for memory that is not there, or not aligned to its elements: whoever computes on it reads whole elements, and from
// an odd address that is slow, or ends the process. `side` is "input" or "output".
void check_memory(const char* side, const std::string& name, const View& view, const std::string& where);

// input_error for a bool that is another byte than 0 and 1: some kernels would take it for true, some for false.
void check_bools(const std::string& name, const View& view, const std::string& where);

// Buffers that stay, by name, and the call on them. Keeps its session's engine alive.
class Binding {
 public:
  Binding() = default;
  // In a child of a fork, what the call holds is left alone: it may be another thread's of the parent, or a GPU's.
  ~Binding() {
    if (!process.is_this()) static_cast<void>(call.release());
  }
  Binding(const Binding&) = delete;
  Binding& operator=(const Binding&) = delete;

  std::map<std::string, View> inputs, outputs;
  // Raises input_error for a bool of the inputs that is neither 0 nor 1, and what the engine raises. Allocates nothing.
  void run();

  Process process;
  std::string where;
  std::vector<std::pair<std::string, View>> bools;  // those of the inputs, which the caller fills
  std::vector<Tensor> made;  // the buffers that nobody gave
  std::shared_ptr<Engine> engine;
  std::unique_ptr<BoundCall> call;
};

class Session {
 public:
  static std::shared_ptr<Session> open(std::shared_ptr<const Bundle> bundle, const OpenOptions& options);

  std::shared_ptr<const Bundle> bundle;
  std::string backend, device, choice, passed_over, precision, where;
  std::vector<TensorSpec> inputs, outputs;

  // All inputs by name; every output, in new memory. May be called from many threads.
  Tensors run(const std::map<std::string, View>& given) const;
  // Into memory of the caller, by name; `room` bytes at each. dtype and shape are filled in, also where there is too little room
  // (input_error). Outputs that are not named are not computed for the caller's sake.
  struct Wanted {
    View view;
    size_t room;
  };
  void run_into(const std::map<std::string, View>& given, std::map<std::string, Wanted>& wanted) const;
  // Dims by name (what is left out takes its opt), and buffers of the caller for some inputs and outputs.
  std::unique_ptr<Binding> bind(const std::map<std::string, int64_t>& sizes, const std::map<std::string, View>& inputs,
                                const std::map<std::string, View>& outputs) const;

  std::shared_ptr<Engine> engine;
  Process process;  // that opened it: in a child of a fork, what runs the graph raises usage_error

 private:
  std::vector<View> checked(const std::map<std::string, View>& given) const;
  // The outputs' shapes where they follow from the inputs'; else none, and a run tells.
  std::optional<std::vector<Signature>> known_outputs(const std::vector<Shape>& input_shapes) const;
  std::vector<Signature> learnt_outputs(const std::vector<Shape>& input_shapes) const;
  std::vector<Shape> shapes(const std::map<std::string, int64_t>& sizes, const std::map<std::string, View>& given) const;
};

}  // namespace attn
