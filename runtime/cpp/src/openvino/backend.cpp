#include "openvino/backend.h"

#include <algorithm>

#include "bundle/external_data.h"
#include "engine/agreement.h"
#include "openvino/engine.h"
#include "openvino/library.h"
#include "openvino/misread.h"
#include "util/names.h"
#include "util/text.h"

namespace attn {
namespace {

// The largest graphs that a bound call compiles again for its sizes.
constexpr uintmax_t kSmallBytes = 16 << 20;

// What lies between two nodes is often not declared; what a Cast makes is told by the Cast.
bool has_type(const OnnxGraph& graph, uint64_t type) {
  const auto casts_to_it = [&](const OnnxNode& node) {
    const auto to = node.op_type == "Cast" ? node.attributes.find("to") : node.attributes.end();
    return to != node.attributes.end() && to->second.number == static_cast<double>(type);
  };
  return std::any_of(graph.values.begin(), graph.values.end(), [&](const auto& value) { return value.second.type == type; }) ||
         std::any_of(graph.nodes.begin(), graph.nodes.end(), casts_to_it);
}

class Openvino : public Backend {
 public:
  const char* name() const override { return "openvino"; }
  bool automatic() const override { return false; }  // measurements of a bundle, which would tell where it is faster, are read by Python alone

  std::optional<std::string> why_not(const std::string& device, const OpenOptions&) override {
    if (device != "cpu") return "it runs on the CPU alone";
    try {
      OvLibrary::load();
      return std::nullopt;
    } catch (const Error& error) {
      return error.what();
    }
  }

  std::unique_ptr<Engine> open(const GraphFile& graph, const std::string&, const OpenOptions& options) override {
    const OvLibrary& library = OvLibrary::load();
    const std::filesystem::path& file = graph.precision->file;
    const bool apart = !check_external_data(file, graph.where).empty();
    const OnnxGraph known = read_onnx_graph(file, graph.where);
    if (const std::vector<Misread> wrong = misread(known); !wrong.empty()) {
      throw backend_error(graph.where + ": OpenVINO would answer wrongly: node \"" + printable(wrong[0].node->name) + "\" (" + printable(wrong[0].node->op_type) +
                          "): " + wrong[0].problem + kOrtSays);
    }
    check_agreement(graph.inputs, declared_specs(known, known.inputs, graph.where), "input", graph);
    check_agreement(graph.outputs, declared_specs(known, known.outputs, graph.where), "output", graph);
    auto compiler = std::make_unique<OvCompiler>(library, graph, options);
    std::vector<std::string> notes;
    if (has_type(known, kOnnxFloat16)) notes.emplace_back(kHalfNote);
    if (has_type(known, kOnnxBfloat16) && !compiler->has_bfloat16_units()) {
      notes.emplace_back("computes bf16 in fp32 between the nodes, since this processor has no units for it");
    }
    if (has_type(known, kOnnxFloat64)) notes.emplace_back("computes float64 in float32");
    // Weights beside the file would be read again, and they may be another export's by then.
    const bool fixed_sizes = !apart && std::filesystem::file_size(file) <= kSmallBytes && compiler->dynamic();
    auto engine = make_openvino_engine(std::move(compiler), fixed_sizes);
    engine->note = joined(notes, "; ");
    return engine;
  }
};

}  // namespace

std::unique_ptr<Backend> openvino_backend() { return std::make_unique<Openvino>(); }

}  // namespace attn
