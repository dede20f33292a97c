#include "bundle/onnx_graph.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "bundle/onnx_file.h"
#include "util/text.h"
#include "util/unicode.h"

namespace attn {
namespace {

// No graph that runs has more nodes, and no name is longer: more is a file made to exhaust the memory.
constexpr size_t kMostNodes = 1'000'000, kLongest = 1 << 16;

// By numbers of TensorProto.DataType; 0 for what no session takes.
constexpr std::array<int, 14> kTypes{0, ATTN_FLOAT32, ATTN_UINT8, ATTN_INT8, ATTN_UINT16, ATTN_INT16, ATTN_INT32, ATTN_INT64,
                                     0, ATTN_BOOL, ATTN_FLOAT16, ATTN_FLOAT64, ATTN_UINT32, ATTN_UINT64};

class GraphReader {
 public:
  GraphReader(WireFile& data, const std::string& where) : data_(data), where_(where) {}

  OnnxGraph read() {
    std::optional<Part> main;
    std::vector<Part> functions;
    data_.messages(0, data_.size(), [&](uint64_t number, uint64_t begin, uint64_t end) {
      if (number == 7) main = {true, begin, end};
      if (number == 25) functions.push_back({false, begin, end});
    });
    if (!main) throw BrokenMessage("it has no graph");
    pending_ = functions;
    graph(*main, true);
    // A stack, not recursion: a hostile file may nest bodies as deep as it likes.
    while (!pending_.empty()) {
      const Part part = pending_.back();
      pending_.pop_back();
      graph(part, false);
    }
    std::vector<std::string> inputs;
    for (std::string& name : found_.inputs) {
      if (!found_.weights.count(name)) inputs.push_back(std::move(name));
    }
    found_.inputs = std::move(inputs);
    return std::move(found_);
  }

 private:
  struct Part {
    bool graph;  // or a function
    uint64_t begin, end;
  };

  void graph(const Part& part, bool top) {
    data_.messages(part.begin, part.end, [&](uint64_t number, uint64_t begin, uint64_t end) {
      if (number == (part.graph ? 1 : 7)) node(begin, end);
      if (!part.graph) return;
      if (number == 5) {
        auto [name, value] = tensor(begin, end);
        if (top) found_.weights.insert(name);
        found_.values[name] = std::move(value);
      } else if (number >= 11 && number <= 13) {
        auto [name, value] = value_info(begin, end);
        if (top && number != 13) (number == 11 ? found_.inputs : found_.outputs).push_back(name);
        found_.values[name] = std::move(value);
      }
      bounded(found_.nodes.size() + found_.values.size());
    });
  }

  void node(uint64_t begin, uint64_t end) {
    OnnxNode made;
    uint64_t type = 0;
    data_.messages(begin, end, [&](uint64_t number, uint64_t from, uint64_t to) {
      switch (number) {
        case 1: made.inputs.push_back(text(from, to)); break;
        case 2: made.outputs.push_back(text(from, to)); break;
        case 3: made.name = text(from, to); break;
        case 4: made.op_type = text(from, to); break;
        case 5: attribute(from, to, made, type); break;
        case 7: made.domain = text(from, to); break;
        default: break;
      }
      bounded(made.inputs.size() + made.outputs.size() + made.attributes.size());
    });
    if (made.name.empty() && !made.outputs.empty()) made.name = "node_of_" + made.outputs[0];
    if (made.op_type == "Constant" && type && !made.outputs.empty()) found_.values.emplace(made.outputs[0], OnnxValue{type, std::nullopt});
    found_.nodes.push_back(std::move(made));
  }

  // `type`: of a tensor in it.
  void attribute(uint64_t begin, uint64_t end, OnnxNode& node, uint64_t& type) {
    std::string name;
    OnnxAttribute value;
    data_.fields(begin, end, [&](const WireField& field) {
      const bool bytes = field.wire == Wire::bytes;
      if (field.number == 1 && bytes) name = text(field.begin, field.end);
      if (field.number == 2 && field.wire == Wire::fixed32) {
        float number = 0;
        std::memcpy(&number, data_.bytes(field.begin, field.end).data(), sizeof number);
        value.number = number;
      }
      if (field.number == 3 && field.wire == Wire::varint) value.number = static_cast<double>(static_cast<int64_t>(field.value));
      if (field.number == 4 && bytes) value.text = data_.bytes(field.begin, std::min(field.end, field.begin + kLongest));
      if (field.number == 8) numbers(field, value.list);
      if (field.number == 5 && bytes) type = tensor(field.begin, field.end).second.type;
      if ((field.number == 6 || field.number == 11) && bytes) pending_.push_back({true, field.begin, field.end});
    });
    if (value.known()) node.attributes[name] = std::move(value);
  }

  // Whole numbers, one in each field or one behind the other in one.
  void numbers(const WireField& field, std::vector<int64_t>& to) {
    if (field.wire == Wire::varint) to.push_back(static_cast<int64_t>(field.value));
    if (field.wire == Wire::bytes && field.end - field.begin <= kLongest) {  // of a longer list than any model's, none
      for (uint64_t at = field.begin; at < field.end;) to.push_back(static_cast<int64_t>(data_.varint(at, field.end)));
    }
    bounded(to.size());
  }

  std::pair<std::string, OnnxValue> tensor(uint64_t begin, uint64_t end) {
    std::string name;
    OnnxValue value;
    std::vector<int64_t> sizes;
    data_.fields(begin, end, [&](const WireField& field) {
      if (field.number == 1) numbers(field, sizes);
      if (field.number == 2 && field.wire == Wire::varint) value.type = field.value;
      if (field.number == 8 && field.wire == Wire::bytes) name = text(field.begin, field.end);
    });
    value.dims.emplace();
    for (const int64_t size : sizes) value.dims->push_back({size, ""});
    return {name, std::move(value)};
  }

  std::pair<std::string, OnnxValue> value_info(uint64_t begin, uint64_t end) {
    std::string name;
    OnnxValue value;
    data_.messages(begin, end, [&](uint64_t number, uint64_t from, uint64_t to) {
      if (number == 1) name = text(from, to);
      if (number != 2) return;
      data_.messages(from, to, [&](uint64_t kind, uint64_t inner, uint64_t last) {
        if (kind == 1) value = tensor_type(inner, last);
      });
    });
    return {name, std::move(value)};
  }

  OnnxValue tensor_type(uint64_t begin, uint64_t end) {
    OnnxValue value;
    data_.fields(begin, end, [&](const WireField& field) {
      if (field.number == 1 && field.wire == Wire::varint) value.type = field.value;
      if (field.number != 2 || field.wire != Wire::bytes) return;
      value.dims.emplace();
      data_.messages(field.begin, field.end, [&](uint64_t number, uint64_t from, uint64_t to) {
        if (number == 1) value.dims->push_back(dim(from, to));
        bounded(value.dims->size());
      });
    });
    return value;
  }

  OnnxDim dim(uint64_t begin, uint64_t end) {
    OnnxDim found;
    data_.fields(begin, end, [&](const WireField& field) {
      if (field.number == 1 && field.wire == Wire::varint) found = {static_cast<int64_t>(field.value), ""};
      if (field.number == 2 && field.wire == Wire::bytes) found = {std::nullopt, text(field.begin, field.end)};
    });
    return found;
  }

  std::string text(uint64_t begin, uint64_t end) {
    if (end - begin > kLongest) {
      throw bundle_error(where_ + ": a name of " + std::to_string(end - begin) + " bytes, expected at most " + std::to_string(kLongest) + ".");
    }
    std::string found = data_.bytes(begin, end);
    if (!is_utf8(found)) throw BrokenMessage("a name that is not UTF-8");
    return found;
  }

  void bounded(size_t count) const {
    if (count > kMostNodes) {
      throw bundle_error(where_ + ": more than " + std::to_string(kMostNodes) + " nodes and values, expected fewer.");
    }
  }

  WireFile& data_;
  const std::string& where_;
  std::vector<Part> pending_;
  OnnxGraph found_;
};

}  // namespace

OnnxGraph read_onnx_graph(const std::filesystem::path& file, const std::string& where) {
  return read_onnx_file(file, where, [&](WireFile& data) { return GraphReader(data, where).read(); });
}

std::vector<TensorSpec> declared_specs(const OnnxGraph& graph, const std::vector<std::string>& names, const std::string& where) {
  std::vector<TensorSpec> found;
  for (const std::string& name : names) {
    const OnnxValue& value = graph.values.at(name);
    const int dtype = value.type < kTypes.size() ? kTypes[value.type] : 0;
    if (!dtype) {
      throw backend_error(where + ": tensor " + shown(name) + " is of ONNX's element type " + std::to_string(value.type) +
                          "; sessions take floats of 16, 32 and 64 bits, integers and bool");
    }
    TensorSpec spec{name, static_cast<attn_dtype>(dtype), {}, "", "", std::nullopt, std::nullopt};
    for (const OnnxDim& dim : value.dims.value_or(std::vector<OnnxDim>{})) {
      if (dim.size && *dim.size >= 0) {
        spec.dims.push_back({std::nullopt, *dim.size, *dim.size, *dim.size});
      } else {
        const std::string called = dim.name.empty() ? name + "_" + std::to_string(spec.dims.size()) : dim.name;
        spec.dims.push_back({called, 1, 1, std::numeric_limits<int32_t>::max()});
      }
    }
    found.push_back(std::move(spec));
  }
  return found;
}

}  // namespace attn
