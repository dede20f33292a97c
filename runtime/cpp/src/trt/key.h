// The key of an engine: what it was built from, with and for. Lies beside it as NAME.engine.json; an engine is trusted only with it. The
// Python twin is attn_runtime/trt/engine_key.py, the form attn_runtime/trt/engine.schema.json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace attn {

// What of it a reader compares or tells.
struct EngineKey {
  std::string model_sha256;
  std::optional<std::string> graph;  // none for a plain ONNX file's
  std::string precision, type;
  std::string flavour, version;
  std::vector<std::string> compute_capabilities;  // as in "8.9"
  std::string os;                                 // as in "linux-x86_64"
  std::string engine_sha256;
  uint64_t engine_size;
};

// What an engine must fit.
struct Machine {
  std::map<std::string, std::string> flavours;  // flavour -> full version, of those that load here
  std::string compute_capability;               // "" where it is not known
  std::string os;
};

struct WantedEngine {
  std::string model_sha256, graph, precision, type;
};

struct Mismatch {
  std::string field, wanted, found;
};

// Every field that keeps the engine of `key` from being used; none when it fits.
std::vector<Mismatch> mismatches(const EngineKey& key, const WantedEngine& wanted, const Machine& machine);
// "version (wanted rtx 1.8, found rtx 1.7); os (...)"; a hash is cut to what tells it apart.
std::string text(const std::vector<Mismatch>& found);

// Raises engine_error where it is missing, damaged or of another schema version.
EngineKey read_engine_key(const std::filesystem::path& path);

// What identifies a model: the sha256 of its ONNX file, or of the list of all its files' where it has data files. `sha256` is
// file name -> hash.
std::string model_digest(const std::string& file, const std::map<std::string, std::string>& sha256);

// This system and processor.
std::string os_name();

}  // namespace attn
