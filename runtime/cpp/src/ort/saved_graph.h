// Graphs as ONNX Runtime optimised them, with their weights in the order that this processor multiplies in. Where they lie, what their keys
// are and when they are believed says the Python twin, attn_runtime/ort/saved_graphs.py: both use the same files.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "engine/engine.h"
#include "ort/library.h"

namespace attn {

// Names and values of options of a session.
using ConfigEntries = std::map<std::string, std::string>;

class SavedGraph {
 public:
  // `options` are those of the session that change the graph or its weights. Raises usage_error where `cache` can't be made, or somebody else
  // could write to it.
  SavedGraph(const GraphFile& graph, const std::filesystem::path& cache, const OrtLibrary& library, const ConfigEntries& options);

  // The ONNX file; none where there is none, and where it can't be believed. With `paranoid`, nothing is that is remembered.
  std::optional<std::filesystem::path> find(bool paranoid) const;
  // Calls `open`, which is given options of a session and the file that ONNX Runtime is to write the optimised graph to. Raises usage_error
  // where the cache can't be written, and what `open` raises.
  void write(const std::function<void(const ConfigEntries& options, const std::filesystem::path& file)>& open) const;

  std::filesystem::path folder() const { return folder_; }

 private:
  struct Listed;
  std::optional<std::map<std::string, Listed>> listed() const;

  std::filesystem::path cache_, folder_;
  std::string key_;
};

// Of the lines in which Linux tells what the first processor is and can do, by which ONNX Runtime orders weights.
std::string processor_sha256();

}  // namespace attn
