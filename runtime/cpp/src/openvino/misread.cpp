#include "openvino/misread.h"

#include <algorithm>
#include <initializer_list>

#include "util/text.h"

namespace attn {
namespace {

using Numbers = std::vector<int64_t>;

// Operators of com.microsoft whose answers were compared with ONNX Runtime's, attribute by attribute.
constexpr const char* kCompared[] = {"Attention", "BiasGelu", "FastGelu", "FusedConv", "FusedGemm", "FusedMatMul", "Gelu", "MatMulNBits",
                                     "MultiHeadAttention", "QuickGelu", "RotaryEmbedding", "SkipLayerNormalization",
                                     "SkipSimplifiedLayerNormalization"};

// A node with what is asked of it; what a file leaves out has a value all the same.
class Asked {
 public:
  Asked(const OnnxNode& node, const OnnxGraph& graph) : node_(node), graph_(graph) {}

  bool is(std::initializer_list<const char*> operators) const {
    return std::any_of(operators.begin(), operators.end(), [&](const char* name) { return node_.op_type == name; });
  }
  bool has(const char* name) const { return node_.attributes.count(name) > 0; }
  double number(const char* name, double otherwise) const {
    const OnnxAttribute* found = attribute(name);
    return found && found->number ? *found->number : otherwise;
  }
  bool set(const char* name) const { return number(name, 0) != 0; }
  std::string text(const char* name, const char* otherwise) const {
    const OnnxAttribute* found = attribute(name);
    return found && found->text ? *found->text : otherwise;
  }
  Numbers list(const char* name, Numbers otherwise) const {
    const OnnxAttribute* found = attribute(name);
    return found && !found->list.empty() ? found->list : otherwise;
  }
  bool padded() const {
    const Numbers pads = list("pads", {});
    return std::any_of(pads.begin(), pads.end(), [](int64_t pad) { return pad != 0; });
  }
  size_t outputs() const { return node_.outputs.size(); }
  std::string input(size_t place) const { return place < node_.inputs.size() ? node_.inputs[place] : ""; }
  // The axes of an input; none where the file does not tell.
  const std::vector<OnnxDim>* dims(size_t place) const {
    const auto found = graph_.values.find(input(place));
    return found == graph_.values.end() || !found->second.dims ? nullptr : &*found->second.dims;
  }
  size_t rank(size_t place) const { return dims(place) ? dims(place)->size() : 99; }

  // Whether one of its tensors is of one of these types.
  bool of_type(std::initializer_list<uint64_t> types) const {
    const auto one_is = [&](const std::vector<std::string>& names) {
      return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
        const auto found = graph_.values.find(name);
        return found != graph_.values.end() && std::find(types.begin(), types.end(), found->second.type) != types.end();
      });
    };
    return one_is(node_.inputs) || one_is(node_.outputs);
  }

  // Whether as many keys as queries are new, by their declared shapes.
  bool as_many_keys() const {
    const auto *queries = dims(0), *keys = dims(1);
    if (!queries || !keys || queries->size() < 3 || keys->size() < 3) return false;
    const OnnxDim& ours = (*queries)[queries->size() - 2];
    return (ours.size || !ours.name.empty()) && ours == (*keys)[keys->size() - 2];
  }

  // Whether an input comes neither from the file nor from a Constant.
  bool computed(size_t place) const {
    const std::string name = input(place);
    return !graph_.weights.count(name) && std::none_of(graph_.nodes.begin(), graph_.nodes.end(), [&](const OnnxNode& node) {
      return node.op_type == "Constant" && std::find(node.outputs.begin(), node.outputs.end(), name) != node.outputs.end();
    });
  }

  // Whether some size of a pooling has a last window that begins in the padding: where step and padding reach over the window.
  bool begins_beside() const {
    const Numbers sizes = list("kernel_shape", {}), ones(sizes.size(), 1);
    const Numbers steps = list("strides", ones), holes = list("dilations", ones), pads = list("pads", Numbers(2 * sizes.size(), 0));
    for (size_t i = 0; i < std::min({sizes.size(), steps.size(), holes.size()}) && sizes.size() + i < pads.size(); ++i) {
      if (steps[i] + pads[sizes.size() + i] > (sizes[i] - 1) * holes[i] + 1) return true;
    }
    return false;
  }

 private:
  const OnnxAttribute* attribute(const char* name) const {
    const auto found = node_.attributes.find(name);
    return found == node_.attributes.end() ? nullptr : &found->second;
  }

  const OnnxNode& node_;
  const OnnxGraph& graph_;
};

// "" where it is read as it is written.
std::string of_attention(const Asked& node) {
  for (const std::string name : {"left_window_size", "right_window_size"}) {
    if (const double size = node.number(name.c_str(), -1); size != -1) {
      return "its " + name + " of " + std::to_string(static_cast<int64_t>(size)) + " is ignored, and all positions would be attended to";
    }
  }
  if (node.number("scale", 1) == 0) return "its scale of 0 is taken for the default";
  if (node.set("is_causal") && !node.input(4).empty() && !node.as_many_keys()) {
    return "is_causal with past keys counts from the end of the keys, and not all queries are known to have one";
  }
  return "";
}

std::string of_resize(const Asked& node) {
  if (node.set("antialias")) return "antialias is computed otherwise";
  if (node.set("exclude_outside")) return "exclude_outside is ignored";
  if (const std::string policy = node.text("keep_aspect_ratio_policy", "stretch"); policy != "stretch") {
    return "its keep_aspect_ratio_policy " + printable(policy) + " is ignored";
  }
  const bool corners = node.text("coordinate_transformation_mode", "") == "align_corners";
  return corners && !node.input(2).empty() ? "align_corners by scales takes other places than by sizes" : "";
}

std::string of_onnx(const Asked& node) {
  if (node.is({"Attention"})) return of_attention(node);
  if (node.is({"Resize"})) return of_resize(node);
  if (node.is({"LSTM", "GRU", "RNN"}) && node.set("layout")) {
    return "its layout of 1 is ignored, and the batch would be taken for the sequence";
  }
  if (node.is({"LSTM"}) && node.set("input_forget")) return "its input_forget is ignored";
  if (node.is({"AveragePool"}) && node.set("ceil_mode") && node.set("count_include_pad") && node.padded()) {
    return "what a last window has past the padding is counted as well";
  }
  if (node.is({"MaxPool"}) && node.set("ceil_mode") && node.begins_beside()) {
    return "its last window may begin beside the input, and gives one row more";
  }
  if (node.is({"MaxPool"}) && node.set("storage_order") && node.outputs() > 1) {
    return "its storage_order turns the places round, and they are numbered along rows all the same";
  }
  if (node.is({"RoiAlign"}) && node.text("mode", "") == "max") return "its mode max takes other maxima";
  if (node.is({"SpaceToDepth"}) && node.text("mode", "DCR") != "DCR") return "its mode is ignored";
  if (node.is({"DFT"}) && node.set("onesided")) return "onesided gives another shape";
  if (node.is({"ReduceL1"}) && node.set("noop_with_empty_axes") && node.input(1).empty()) {
    return "without axes nothing is done, and -3 stays -3";
  }
  if (node.is({"Tile"}) && node.computed(1) && node.rank(0) > 3) {
    return "repeats that are computed, of three last axes at once, read memory that nobody wrote";
  }
  if (node.is({"Add", "Sub", "Mul"}) && node.of_type({kOnnxInt8, kOnnxUint8})) {
    return "whole numbers of 8 bits saturate instead of beginning anew";
  }
  if (node.is({"BitShift"}) && node.of_type({kOnnxInt8, kOnnxInt32})) return "numbers with a sign are shifted otherwise";
  return "";
}

std::string of_microsoft(const Asked& node) {
  if (node.is({"GroupQueryAttention"})) {
    return "it keeps the past in place, whatever the lengths of the rows, and knows no windows and no smooth softmax";
  }
  const auto same = [&](const char* name) { return node.is({name}); };
  if (std::none_of(std::begin(kCompared), std::end(kCompared), same)) return "nobody has compared its answers";
  if (node.is({"Attention"})) {
    for (const char* name : {"scale", "mask_filter_value"}) {
      if (node.has(name)) return std::string("its ") + name + " is ignored";
    }
  }
  if (node.is({"RotaryEmbedding"}) && node.rank(1) != 2) {
    return "one position for all rows is counted otherwise, and its positions are not known to have rows";
  }
  return "";
}

}  // namespace

std::vector<Misread> misread(const OnnxGraph& graph) {
  std::vector<Misread> found;
  for (const OnnxNode& node : graph.nodes) {
    const Asked asked(node, graph);
    std::string problem;  // unknown domains are refused when the file is read
    if (node.domain == "com.microsoft") problem = of_microsoft(asked);
    if (node.domain.empty() || node.domain == "ai.onnx") problem = of_onnx(asked);
    if (!problem.empty()) found.push_back({&node, std::move(problem)});
  }
  return found;
}

}  // namespace attn
