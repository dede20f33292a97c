// A bundle that was opened, checked and hashed. The format is docs/format/bundle.md, the Python twin attn_runtime/bundle/reader.py.
#pragma once

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "bundle/opened_files.h"
#include "format/json.h"
#include "util/spec.h"
#include "util/tensor.h"

namespace attn {

// Low and high, both included and on one side of 0.
using FillRange = std::pair<double, double>;

struct Tolerance {
  double atol, rtol;
  std::map<std::string, std::vector<FillRange>> fills{};  // of an output: what it writes over places that are banned or masked

  std::map<std::string, double> rtols{};  // of an output that has one of its own

  // The same with the rtol of this output.
  Tolerance of(const std::string& output) const;
  // How large an error may be in a tensor whose reference is at most so large.
  double limit(double max_reference) const { return atol + rtol * max_reference; }
  // The ranges of an output; none where it has no fill values.
  const std::vector<FillRange>& fills_of(const std::string& output) const;
};

inline bool is_fill(double value, const std::vector<FillRange>& ranges) {
  for (const auto& [low, high] : ranges) {
    if (value >= low && value <= high) return true;
  }
  return false;
}

struct Precision {
  std::string name;
  std::filesystem::path file;               // the ONNX file
  std::vector<std::filesystem::path> data;  // its external data
  Tolerance tolerance;
  std::string type = "fp32";          // fp32, fp16, bf16
  std::optional<std::string> target;  // "tensorrt" where it was made for that compiler alone
  bool half_io = false;               // float32 inputs and outputs of the graph are float16 in this file
  bool quantised = false;  // its products are, whatever the type of the rest
  bool calibrated = false;  // its activations have ranges that were calibrated, which inputs far from the usual leave
  std::string sha256;
};

struct GoldenCase {
  std::string name;
  std::map<std::string, int64_t> sizes;
  std::filesystem::path inputs, outputs;  // safetensors
  std::vector<std::string> types;         // the types of arithmetic that are held to it; none: all

  bool holds_for(const Precision& precision) const {
    return types.empty() || (!precision.calibrated && std::find(types.begin(), types.end(), precision.type) != types.end());
  }
};

struct Graph {
  std::string name;
  std::vector<TensorSpec> inputs, outputs;
  std::vector<Precision> precisions;  // in the manifest's order
  std::vector<GoldenCase> golden;

  // The precision of that name; none: fp32, or the first. Raises usage_error with the names there are.
  const Precision& precision(const std::optional<std::string>& name, const std::string& where) const;
};

// Of one export: what is read later is of that export too, or bundle_error says that the bundle was replaced since it was opened.
class Bundle {
 public:
  // Raises bundle_error for what docs/format/bundle.md says a reader must refuse.
  // Files that this user has read before, and that nobody has touched since, are not read again, but where `paranoid` says so.
  static std::shared_ptr<const Bundle> open(const std::filesystem::path& path, bool paranoid = false);

  std::filesystem::path path;         // as it was given
  std::shared_ptr<OpenedFiles> files;  // they stay where they were found, wherever the process or a link goes
  std::string name, where;             // "translate", "bundle translate.attn"
  std::string manifest_text;     // as it lies in the file
  Json manifest;
  std::vector<Graph> graphs;     // in the manifest's order
  std::set<std::string> listed;  // every file that the manifest lists
  std::set<std::string> unread;  // of those the ones that were known, and not read when it was opened
  bool paranoid = false;         // whether nothing was to be believed that is remembered
  std::map<std::string, std::string> asset_texts;  // of the files of assets: what they held when the bundle was opened

  // Reads what was not read when it was opened. Raises bundle_error where that is not what the manifest says.
  void read_rest() const;
  const Graph& graph(const std::optional<std::string>& name) const;  // raises bundle_error with the names
  std::string label(const Graph& graph) const;                       // what messages call it
  std::filesystem::path file(const std::string& relative) const;     // of a listed file
  // The parsed JSON of an asset, held against its form in the schema's $defs; none without one. Raises bundle_error.
  std::optional<Json> asset(const std::string& name) const;
  // The same as it lies in the file, for as long as the bundle; nullptr without one.
  const std::string* asset_text(const std::string& name) const;
  // The tensors of a listed file, held against names, dtypes and sizes; `label` begins a message. Raises bundle_error.
  Tensors tensors(const std::filesystem::path& file, const std::vector<TensorSpec>& specs, const std::map<std::string, int64_t>& sizes,
                  const std::string& label) const;
  Tensors golden_inputs(const Graph& graph, const GoldenCase& golden) const;
  Tensors golden_outputs(const Graph& graph, const GoldenCase& golden) const;
};

}  // namespace attn
