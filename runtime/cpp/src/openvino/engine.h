// A graph that OpenVINO compiled, as an Engine.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "openvino/library.h"

namespace attn {

// A compiled graph with its tensors, in the order of the record's.
struct OvCompiled {
  OvHeld<ov_compiled_model> model;
  std::vector<OvHeld<ov_output_const_port>> inputs, outputs;
};

// Compiles a graph as it was read, or for given sizes of its inputs.
class OvCompiler {
 public:
  // Reads the file. Raises backend_error where OpenVINO doesn't take it.
  OvCompiler(const OvLibrary& library, const GraphFile& graph, const OpenOptions& options);

  std::shared_ptr<const OvCompiled> compile() const;
  // From here on the model is one of these sizes. They may be called again, for others; not for threads.
  void reshape(const std::vector<Shape>& sizes);
  bool dynamic() const { return library.api.model_is_dynamic(model_.get()); }
  bool has_bfloat16_units() const;

  const OvLibrary& library;
  const GraphFile graph;

 private:
  void check(int status) const;
  std::vector<OvHeld<ov_output_const_port>> ports(const ov_compiled_model* compiled, bool inputs) const;

  const ov_core* core_;
  std::string threads_;
  OvHeld<ov_model> model_;
};

// `fixed_sizes`: a bound call compiles the graph again for its sizes, which runs faster.
std::unique_ptr<Engine> make_openvino_engine(std::unique_ptr<OvCompiler> compiler, bool fixed_sizes);

}  // namespace attn
