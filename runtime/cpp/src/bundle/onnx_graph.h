// What an ONNX file computes, node by node, as far as judging it takes: operators, attributes, declared types. The Python twin is
// attn_runtime/onnx_file/graph.py.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "util/spec.h"

namespace attn {

// Of one number, one text, or a list of whole numbers; others are there without a value.
struct OnnxAttribute {
  std::optional<double> number;
  std::optional<std::string> text;
  std::vector<int64_t> list;

  bool known() const { return number || text || !list.empty(); }
};

struct OnnxNode {
  std::string name, op_type, domain;  // without a name: node_of_OUTPUT, as TensorRT calls it
  std::vector<std::string> inputs, outputs;
  std::map<std::string, OnnxAttribute> attributes;  // those with a value
};

// A size, the name of a dynamic axis, or neither.
struct OnnxDim {
  std::optional<int64_t> size;
  std::string name;

  bool operator==(const OnnxDim& other) const { return size == other.size && name == other.name; }
  bool operator!=(const OnnxDim& other) const { return !(*this == other); }
};

// A number of TensorProto.DataType.
enum OnnxType : uint64_t { kOnnxUint8 = 2, kOnnxInt8 = 3, kOnnxInt32 = 6, kOnnxFloat16 = 10, kOnnxFloat64 = 11, kOnnxBfloat16 = 16 };

struct OnnxValue {
  uint64_t type = 0;
  std::optional<std::vector<OnnxDim>> dims;  // none: no shape is told
};

struct OnnxGraph {
  std::vector<OnnxNode> nodes;              // those of bodies (If, Loop) and functions included
  std::vector<std::string> inputs, outputs;  // of the main graph, without its weights
  std::map<std::string, OnnxValue> values;  // every declared type: inputs, outputs, weights, constants, and those between
  std::set<std::string> weights;            // of the main graph
};

// Its external data stays where it is. Raises bundle_error, opened by `where`, where the file is missing, broken, or beyond what any model
// needs.
OnnxGraph read_onnx_graph(const std::filesystem::path& file, const std::string& where);

// What the file declares of these tensors. A dim without a size or a name is called TENSOR_AXIS, a tensor without a shape has no dims. Raises
// backend_error for a type that no session takes.
std::vector<TensorSpec> declared_specs(const OnnxGraph& graph, const std::vector<std::string>& names, const std::string& where);

}  // namespace attn
