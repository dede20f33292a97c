#include "trt/engines.h"

#include <algorithm>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "bundle/recover.h"
#include "format/sha256.h"
#include "util/error.h"
#include "util/files.h"
#include "util/text.h"

namespace attn {
namespace fs = std::filesystem;

namespace {

const char kFolder[] = "engines";
const std::string kKeySuffix = ".engine.json";

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// The precision that was asked for, before it the file of the same type and borders that was made for TensorRT, where there is one.
std::vector<const Precision*> files_for(const GraphFile& graph) {
  const Precision& asked = *graph.precision;
  const auto alike = [&](const Precision& other) { return other.type == asked.type && other.half_io == asked.half_io; };
  const auto& all = graph.graph->precisions;
  // Where several precisions have one type, the file that was made of this one has its name in front.
  const bool several = std::count_if(all.begin(), all.end(), [&](const Precision& p) { return alike(p) && !p.target; }) > 1;
  for (const Precision& other : all) {
    if (other.target != "tensorrt" || !alike(other)) continue;
    if (&other == &asked) break;
    if (several && other.name != asked.name + "-trt") continue;
    return {&other, &asked};
  }
  return {&asked};
}

// From the manifest, whose hashes the opening of the bundle checked.
std::string digest_of(const Bundle& bundle, const Precision& precision) {
  const Json& files = bundle.manifest.at("files");
  std::map<std::string, std::string> hashes;
  const auto add = [&](const fs::path& path) {
    const std::string relative = path.lexically_relative(bundle.files->folder).generic_string();
    hashes[path.filename().string()] = files.at(relative).at("sha256").get<std::string>();
  };
  add(precision.file);
  for (const fs::path& path : precision.data) add(path);
  return model_digest(precision.file.filename().string(), hashes);
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    names.push_back(at->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<fs::path> keys_of(const Bundle& bundle) {
  const fs::path folder = bundle.files->folder / kFolder;
  std::error_code ignored;
  if (fs::exists(folder, ignored) && !lies_in(resolve(folder), bundle.files->folder)) {
    throw engine_error(bundle.where + ": " + kFolder + " is a link out of the bundle; remove it");
  }
  // A build that was killed while it replaced an engine has set the old one aside.
  std::set<std::string> set_aside;
  const std::string mark = kKeySuffix + ".tmp-";
  for (const std::string& name : names_in(folder)) {
    if (const size_t at = name.find(mark); name[0] == '.' && at != std::string::npos) set_aside.insert(name.substr(1, at - 1) + kKeySuffix);
  }
  for (const std::string& name : set_aside) recover(folder / name);
  std::vector<fs::path> found;
  for (const std::string& name : names_in(folder)) {
    if (name[0] != '.' && ends_with(name, kKeySuffix)) found.push_back(folder / name);
  }
  return found;
}

fs::path engine_of(const fs::path& key) {
  const std::string name = key.filename().string();
  return key.parent_path() / name.substr(0, name.size() - std::string(".json").size());
}

}  // namespace

std::string build_command(const GraphFile& graph) {
  std::string command = "attn-run compile " + quoted(graph.bundle->path.string());
  if (graph.precision->name != "fp32") command += " --precision " + quoted(graph.precision->name);
  if (graph.bundle->graphs.size() > 1) command += " --graph " + quoted(graph.graph->name);
  return command;
}

EngineFile find_engine(const GraphFile& graph, const Machine& machine) {
  const std::string where = graph.where + ", precision " + graph.precision->name;
  const std::string command = build_command(graph);
  std::vector<EngineFile> engines;
  std::optional<std::string> damaged;
  for (const fs::path& path : keys_of(*graph.bundle)) {
    try {
      engines.push_back({engine_of(path), read_engine_key(path)});
    } catch (const Error& error) {
      damaged = error.what();
    }
  }
  std::optional<std::pair<std::vector<Mismatch>, const EngineFile*>> nearest;
  for (const Precision* file : files_for(graph)) {
    const WantedEngine wanted{digest_of(*graph.bundle, *file), graph.graph->name, file->name, file->type};
    const EngineFile* best = nullptr;
    // Built for fewer kinds of GPU is built for this one the more; the full library before the portable one.
    const auto order = [](const EngineFile& each) {
      return std::make_pair(each.key.compute_capabilities.size(), each.key.flavour != "tensorrt");
    };
    for (const EngineFile& engine : engines) {
      std::vector<Mismatch> found = mismatches(engine.key, wanted, machine);
      if (found.empty()) {
        if (!best || order(engine) < order(*best)) best = &engine;
      } else if (!nearest || found.size() < nearest->first.size()) {
        nearest = {std::move(found), &engine};
      }
    }
    if (best) return *best;
  }
  if (damaged) throw engine_error(where + ": " + *damaged + ": " + command);
  if (!nearest) throw backend_error(where + ": no engine has been built. Build one: " + command);
  throw backend_error(where + ": no engine fits; " + nearest->second->path.filename().string() + " differs in " + text(nearest->first) +
                      ". Build one: " + command);
}

std::vector<char> read_plan(const EngineFile& engine) {
  const EngineKey& key = engine.key;
  const std::string where = "engine " + engine.path.filename().string();
  const std::string advice = "it was changed or cut short; build it again";
  const auto check_size = [&](uint64_t size) {
    if (size != key.engine_size) {
      throw engine_error(where + ": got " + std::to_string(size) + " bytes, its key says " + std::to_string(key.engine_size) + "; " + advice);
    }
  };
  std::vector<char> plan;
  try {
    const File file(engine.path);
    if (!file.regular()) throw engine_error(where + ": is not a regular file; build it again");
    check_size(file.size());
    plan.resize(file.size());
    check_size(file.read_at(0, plan.data(), plan.size()));
  } catch (const std::system_error& error) {
    throw engine_error(where + ": can't be read (" + error.code().message() + "); build it again");
  }
  Sha256 digest;
  digest.update(plan.data(), plan.size());
  const std::string found = digest.hexadecimal();
  if (found != key.engine_sha256) {
    throw engine_error(where + ": sha256 is " + found.substr(0, 12) + ", its key says " + key.engine_sha256.substr(0, 12) + "; " + advice);
  }
  return plan;
}

}  // namespace attn
