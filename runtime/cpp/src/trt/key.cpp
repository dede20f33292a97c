#include "trt/key.h"

#include <sys/utsname.h>

#include <algorithm>
#include <cctype>

#include "bundle/schema.h"
#include "format/json.h"
#include "format/sha256.h"
#include "util/error.h"
#include "util/names.h"

namespace attn {

// Of the build: runtime/attn_runtime/trt/engine.schema.json.
extern const unsigned char engine_schema_text[];
extern const size_t engine_schema_bytes;

namespace {

constexpr int64_t kSchemaVersion = 1;
constexpr size_t kMostBytes = size_t{4} << 20;

const Json& engine_schema() {
  static const Json* schema = new Json(
      parse_json({reinterpret_cast<const char*>(engine_schema_text), engine_schema_bytes}, "engine.schema.json"));
  return *schema;
}

// One version is as long as its library tells: 10.3.0 is 10.3.0.30.
bool same_version(const std::string& a, const std::string& b) {
  const std::string &longer = a.size() < b.size() ? b : a, &shorter = a.size() < b.size() ? a : b;
  const bool whole = std::count(shorter.begin(), shorter.end(), '.') >= 2;
  return a == b || (whole && longer.compare(0, shorter.size(), shorter) == 0 && longer[shorter.size()] == '.');
}

std::string short_text(const std::string& value) { return value.size() == 64 ? value.substr(0, 12) : value; }

Json read(const std::filesystem::path& path) {
  const std::string where = "engine " + path.filename().string();
  try {
    return parse_json(read_text(path, where, kMostBytes), where + ": " + path.filename().string());
  } catch (const Error& error) {
    // Their advice is about bundles.
    const std::string told = error.what();
    throw engine_error(told.substr(0, std::min(told.rfind("; "), told.size())) + "; build the engine again");
  }
}

void check_profiles(const Json& profiles, const std::string& name) {
  for (const Json& profile : profiles) {
    for (const auto& [input, shapes] : profile.items()) {
      const auto low = shapes.at("min").get<std::vector<int64_t>>(), opt = shapes.at("opt").get<std::vector<int64_t>>(),
                 high = shapes.at("max").get<std::vector<int64_t>>();
      bool rises = low.size() == opt.size() && opt.size() == high.size();
      for (size_t axis = 0; rises && axis < low.size(); ++axis) rises = low[axis] <= opt[axis] && opt[axis] <= high[axis];
      if (!rises) {
        throw engine_error(name + ": profiles: " + shown(input) + ": got " + shown(Json::array({low, opt, high})) +
                           ", expected shapes of one rank, min <= opt <= max; build the engine again");
      }
    }
  }
}

}  // namespace

std::vector<Mismatch> mismatches(const EngineKey& key, const WantedEngine& wanted, const Machine& machine) {
  std::vector<Mismatch> found;
  const auto compare = [&](const char* field, const std::string& want, const std::string& have) {
    if (want != have) found.push_back({field, want, have});
  };
  compare("graph", wanted.graph, key.graph.value_or("none"));
  compare("precision", wanted.precision, key.precision);
  compare("type", wanted.type, key.type);
  compare("model_sha256", wanted.model_sha256, key.model_sha256);
  if (const auto here = machine.flavours.find(key.flavour); here == machine.flavours.end()) {
    std::vector<std::string> names;
    for (const auto& [name, version] : machine.flavours) names.push_back(name);
    found.push_back({"flavour", names.empty() ? "none is installed" : joined(names, " or "), key.flavour});
  } else if (!same_version(here->second, key.version)) {
    found.push_back({"version", key.flavour + " " + here->second, key.flavour + " " + key.version});
  }
  compare("os", machine.os, key.os);
  const auto& capabilities = key.compute_capabilities;
  const bool runs = std::find(capabilities.begin(), capabilities.end(), machine.compute_capability) != capabilities.end();
  if (!machine.compute_capability.empty() && !runs) {
    found.push_back({"compute capability", machine.compute_capability, joined(capabilities)});
  }
  return found;
}

std::string text(const std::vector<Mismatch>& found) {
  std::string told;
  for (const Mismatch& each : found) {
    told += (told.empty() ? "" : "; ") + each.field + " (wanted " + short_text(each.wanted) + ", found " + short_text(each.found) + ")";
  }
  return told;
}

EngineKey read_engine_key(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  const Json value = read(path);
  if (value.is_object()) {
    const auto version = value.find("schema_version");
    if (version != value.end() && version->is_number_integer() && *version != kSchemaVersion) {
      throw engine_error(name + ": schema_version is " + shown(*version) + ", this attn-runtime knows " + std::to_string(kSchemaVersion) +
                         "; build the engine again");
    }
  }
  if (const auto problem = find_problem(value, engine_schema(), engine_schema())) {
    throw engine_error(name + ": " + *problem + "; build the engine again");
  }
  check_profiles(value.at("profiles"), name);
  const auto told = [&](const char* field) { return value.at(field).get<std::string>(); };
  EngineKey key{told("model_sha256"), std::nullopt, told("precision"), told("type"), told("flavour"), told("version"),
                value.at("compute_capabilities").get<std::vector<std::string>>(), told("os"), told("engine_sha256"),
                value.at("engine_size").get<uint64_t>()};
  if (!value.at("graph").is_null()) key.graph = told("graph");
  return key;
}

std::string model_digest(const std::string& file, const std::map<std::string, std::string>& sha256) {
  if (sha256.size() == 1) return sha256.at(file);
  std::string lines = sha256.at(file) + "  " + file + "\n";
  for (const auto& [name, hash] : sha256) {
    if (name != file) lines += hash + "  " + name + "\n";
  }
  return sha256_of_text(lines);
}

std::string os_name() {
  utsname here{};
  uname(&here);
  std::string name = std::string("linux-") + here.machine;
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return name;
}

}  // namespace attn
