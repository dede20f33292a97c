#include "bundle/manifest.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "bundle/schema.h"
#include "util/error.h"

namespace attn {
namespace {

constexpr int schema_version = 1;

// Assets whose form is published, and the name of its definition in the schema.
constexpr std::array<std::pair<const char*, const char*>, 8> asset_forms{{
    {"labels", "labels"},
    {"classification", "classification"},
    {"image", "image"},
    {"text", "text_input"},
    {"audio", "audio_input"},
    {"ctc", "ctc"},
    {"generation", "generation"},
    {"attention_maps", "attention_maps"},
}};

struct Span {
  int64_t min, opt, max;
  bool operator!=(const Span& other) const { return min != other.min || opt != other.opt || max != other.max; }
  std::string text() const { return std::to_string(min) + ":" + std::to_string(opt) + ":" + std::to_string(max); }
};

// Finds what disagrees. Each check throws what is to be told, in the order of the Python runtime.
struct Disagreement {
  std::string text;
};

[[noreturn]] void tell(const std::string& text) { throw Disagreement{text}; }

const std::string& text_of(const Json& value) { return value.get_ref<const std::string&>(); }

std::string at_index(const std::string& place, size_t index) { return place + "[" + std::to_string(index) + "]"; }

class Checker {
 public:
  explicit Checker(const Json& manifest) : manifest_(manifest) {}

  void check() {
    check_files();
    check_paths();
    for (const auto& [name, graph] : manifest_.at("graphs").items()) check_graph("graphs." + name, graph);
    const auto generation = manifest_.find("generation");
    if (generation == manifest_.end()) return;
    if (!manifest_.at("assets").contains("generation")) {
      tell("generation: there are cases, and no asset generation that says how the graphs make them");
    }
    check_case_names(*generation, "generation");
  }

 private:
  void check_files() {
    std::map<std::string, const std::string*> folded;
    for (const auto& [path, entry] : manifest_.at("files").get_ref<const Json::object_t&>()) {
      files_.insert(path);
      if (path == manifest_name) tell("files: " + path + " can't list itself");
      if (path.substr(0, path.find('/')) == "engines") {
        tell("files: " + path + " lies in engines/, whose files are derived and never listed");
      }
      // A disk that ignores case would give one file to both. The schema lets no letters but ASCII's into a path.
      std::string lower = path;
      for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
      const std::string* twin = folded.try_emplace(lower, &path).first->second;
      if (*twin != path) tell("files: " + path + " and " + *twin + " differ by case alone");
    }
  }

  void check_path(const std::string& place, const Json& path) const {
    if (!files_.count(text_of(path))) tell(place + ": " + shown(path) + " is not listed in files");
  }

  void check_cases_paths(const std::string& place, const Json& cases) const {
    for (size_t index = 0; index < cases.size(); ++index) {
      for (const char* key : {"inputs", "outputs"}) check_path(at_index(place, index) + "." + key, cases[index].at(key));
    }
  }

  void check_paths() const {
    for (const auto& [name, path] : manifest_.at("assets").items()) check_path("assets." + name, path);
    for (const auto& [name, graph] : manifest_.at("graphs").items()) {
      for (const auto& [precision, entry] : graph.at("precisions").items()) {
        const std::string place = "graphs." + name + ".precisions." + precision;
        check_path(place + ".file", entry.at("file"));
        const Json& data = entry.at("data");
        for (size_t index = 0; index < data.size(); ++index) check_path(at_index(place + ".data", index), data[index]);
      }
      check_cases_paths("graphs." + name + ".golden", graph.at("golden"));
    }
    const auto generation = manifest_.find("generation");
    if (generation != manifest_.end()) check_cases_paths("generation", *generation);
  }

  static void check_case_names(const Json& cases, const std::string& place) {
    std::set<std::string> names;
    for (const Json& one : cases) {
      if (!names.insert(text_of(one.at("case"))).second) tell(place + ": two cases have one name");
    }
  }

  void check_graph(const std::string& at, const Json& graph) {
    ranges_.clear();
    order_.clear();
    for (const char* side : {"inputs", "outputs"}) {
      check_tensor_names(at + "." + side, graph.at(side));
      for (size_t index = 0; index < graph.at(side).size(); ++index) {
        check_tensor(at_index(at + "." + side, index), graph.at(side)[index]);
      }
    }
    for (const auto& [name, precision] : graph.at("precisions").items()) {
      const Json& tolerance = precision.at("tolerance");
      if (tolerance.contains("rtols")) {
        check_rtols(at + ".precisions." + name + ".tolerance.rtols", tolerance.at("rtols"), graph.at("outputs"));
      }
      if (tolerance.contains("fills")) {
        check_fills(at + ".precisions." + name + ".tolerance.fills", tolerance.at("fills"), graph.at("outputs"));
      }
    }
    const Json& golden = graph.at("golden");
    check_case_names(golden, at + ".golden");
    for (size_t index = 0; index < golden.size(); ++index) {
      for (const char* key : {"sizes", "checked_sizes"}) {
        for (const auto& [name, size] : golden[index].at(key).items()) {
          check_size(at_index(at + ".golden", index) + "." + key + ": " + shown(name), name, size.get<int64_t>());
        }
      }
    }
    if (graph.contains("sweep")) check_sweep(at + ".sweep", graph.at("sweep"));
    if (graph.contains("power")) check_power(at + ".power", graph.at("power"), graph.at("golden"));
  }

  static void check_power(const std::string& at, const Json& power, const Json& golden) {
    const int64_t usual = power.at("usual").get<int64_t>();
    const int64_t noticed = power.at("noticed").get<int64_t>();
    const int64_t mutants = power.at("mutants").get<int64_t>();
    if (usual > noticed || noticed > mutants) {
      tell(at + ": got usual " + std::to_string(usual) + ", noticed " + std::to_string(noticed) + " and mutants " +
           std::to_string(mutants) + ", expected usual <= noticed <= mutants");
    }
    std::set<std::string> names;
    for (const Json& each : golden) names.insert(text_of(each.at("case")));
    const Json& cases = power.at("cases");
    for (size_t index = 0; index < cases.size(); ++index) {
      const std::string name = text_of(cases[index].at("case"));
      if (!names.count(name)) tell(at_index(at + ".cases", index) + ": " + shown(name) + " is no golden case of the graph");
    }
  }

  void check_sweep(const std::string& at, const Json& sweep) const {
    std::set<std::string> names;
    for (const char* key : {"dims", "complete"}) {
      for (const Json& name : sweep.at(key)) {
        if (!ranges_.count(text_of(name))) {
          tell(at + "." + key + ": " + shown(text_of(name)) + " is no dim of the graph, which has " + shown(order_));
        }
      }
    }
    const Json& dims = sweep.at("dims");
    for (const Json& name : dims) {
      if (!names.insert(text_of(name)).second) tell(at + ".dims: one dim occurs twice");
    }
    const Json& all = sweep.at("sizes");
    for (size_t index = 0; index < all.size(); ++index) {
      const std::string place = at_index(at + ".sizes", index);
      if (all[index].size() != dims.size()) {
        tell(place + ": got " + std::to_string(all[index].size()) + " sizes, expected one for each of " + std::to_string(dims.size()) +
             " dims");
      }
      for (size_t axis = 0; axis < dims.size(); ++axis) {
        check_size(place + ": " + shown(text_of(dims[axis])), text_of(dims[axis]), all[index][axis].get<int64_t>());
      }
    }
  }

  static void check_rtols(const std::string& at, const Json& rtols, const Json& outputs) {
    std::vector<std::string> names;
    for (const Json& tensor : outputs) names.push_back(text_of(tensor.at("name")));
    for (const auto& [output, rtol] : rtols.items()) {
      if (std::find(names.begin(), names.end(), output) == names.end()) {
        tell(at + ": " + shown(output) + " is no output of the graph, which has " + shown(names));
      }
    }
  }

  static void check_tensor_names(const std::string& at, const Json& tensors) {
    std::set<std::string> names, twice;
    for (const Json& tensor : tensors) {
      if (!names.insert(text_of(tensor.at("name"))).second) twice.insert(text_of(tensor.at("name")));
    }
    if (!twice.empty()) tell(at + ": name " + shown(*twice.begin()) + " occurs twice");
  }

  void check_tensor(const std::string& at, const Json& tensor) {
    const auto low = tensor.find("low"), high = tensor.find("high");
    if (low != tensor.end() && high != tensor.end() && low->get<int64_t>() >= high->get<int64_t>()) {
      tell(at + ": got low " + low->dump() + " and high " + high->dump() + ", expected low < high");
    }
    if (tensor.contains("values")) check_values(at + ".values", text_of(tensor.at("dtype")), tensor.at("values"));
    const Json& dims = tensor.at("dims");
    for (size_t axis = 0; axis < dims.size(); ++axis) check_dim(at_index(at + ".dims", axis), dims[axis]);
  }

  // How a float input is drawn. Nothing here draws any; a manifest that one reader refuses is refused by both.
  static void check_values(const std::string& at, const std::string& dtype, const Json& values) {
    if (dtype.rfind("float", 0) != 0) tell(at + ": got values of " + dtype + ", expected a float dtype");
    const bool mean = values.contains("mean"), deviation = values.contains("std");
    const bool low = values.contains("low"), high = values.contains("high");
    const bool uniform = values.at("kind") == "uniform";
    if (uniform ? mean || deviation || !low || !high : !mean || !deviation || low != high) {
      tell(at + ": got " + shown(values) + ", expected " + (uniform ? "low and high" : "mean and std, or mean, std, low, high"));
    }
    if (low && values.at("low").get<double>() >= values.at("high").get<double>()) {
      tell(at + ": got low " + values.at("low").dump() + " and high " + values.at("high").dump() + ", expected low < high");
    }
  }

  static void check_fills(const std::string& at, const Json& fills, const Json& outputs) {
    std::vector<std::string> names;
    std::set<std::string> floats;
    for (const Json& tensor : outputs) {
      names.push_back(text_of(tensor.at("name")));
      if (text_of(tensor.at("dtype")).rfind("float", 0) == 0) floats.insert(names.back());
    }
    for (const auto& [output, ranges] : fills.items()) {
      if (!floats.count(output)) {
        tell(at + ": " + shown(output) + " is no float output of the graph, which has " + shown(names));
      }
      for (size_t index = 0; index < ranges.size(); ++index) {
        const double low = ranges[index][0].get<double>(), high = ranges[index][1].get<double>();
        if (low <= high && (low > 0 || high < 0)) continue;
        tell(at + ": range " + std::to_string(index) + " of " + shown(output) + " is " + shown(ranges[index]) +
             ", expected low <= high on one side of 0");
      }
    }
  }

  void check_dim(const std::string& at, const Json& dim) {
    const Json& name = dim.at("name");
    const Span span{dim.at("min").get<int64_t>(), dim.at("opt").get<int64_t>(), dim.at("max").get<int64_t>()};
    if (span.min > span.opt || span.opt > span.max) tell(at + ": got " + span.text() + ", expected min <= opt <= max");
    if (name.is_null()) {
      if (span.min != span.max) tell(at + ": got " + span.text() + " without a name, expected a fixed size");
      return;
    }
    const auto [known, added] = ranges_.try_emplace(text_of(name), span);
    if (added) order_.push_back(text_of(name));
    if (known->second != span) {
      tell(at + ": dim " + shown(name) + " is " + span.text() + " here and " + known->second.text() + " in another tensor");
    }
  }

  void check_size(const std::string& place, const std::string& name, int64_t size) const {
    const auto range = ranges_.find(name);
    if (range == ranges_.end()) tell(place + " is no dim of the graph, which has " + shown(order_));
    if (size < range->second.min || size > range->second.max) {
      tell(place + " is " + std::to_string(size) + ", expected " + std::to_string(range->second.min) + ".." +
           std::to_string(range->second.max));
    }
  }

  const Json& manifest_;
  std::set<std::string> files_;
  std::map<std::string, Span> ranges_;  // of the graph's named dims ...
  std::vector<std::string> order_;      // ... as they came
};

std::optional<std::string> disagreement(const Json& manifest) {
  try {
    Checker(manifest).check();
  } catch (const Disagreement& found) {
    return found.text;
  }
  return std::nullopt;
}

std::optional<std::string> image_problem(const Json& image) {
  const size_t mean = image.at("mean").size(), std = image.at("std").size(), channels = image.at("channels").get<size_t>();
  if (mean != channels || std != channels) {
    return "mean and std: got " + std::to_string(mean) + " and " + std::to_string(std) + ", expected " + std::to_string(channels) +
           " values";
  }
  for (const std::string name : {"fill", "square"}) {
    if (image.contains(name) && image.at(name).size() != channels) {
      return name + ": got " + std::to_string(image.at(name).size()) + ", expected " + std::to_string(channels) + " values";
    }
  }
  const auto fit = image.find("fit");
  for (const std::string name : {"shortest_edge", "longest_edge"}) {
    const bool needed = fit != image.end() && (*fit == "edges" || (*fit == "shortest_edge" && name == "shortest_edge"));
    if (needed && !image.contains(name)) return "fit: got " + shown(*fit) + " without " + name + ", expected both";
  }
  return std::nullopt;
}

}  // namespace

void check_manifest(const Json& manifest, const std::string& where) {
  const auto version = manifest.is_object() ? manifest.find("schema_version") : manifest.end();
  if (manifest.is_object() && version != manifest.end() && !version->is_null() && *version != schema_version) {
    throw bundle_error(where + ": " + manifest_name + " has schema_version " + shown(*version) + ", this attn-runtime knows " +
                       std::to_string(schema_version) + "; upgrade attn-runtime or re-export the bundle");
  }
  auto problem = find_problem(manifest, manifest_schema(), manifest_schema());
  if (!problem) problem = disagreement(manifest);
  if (problem) throw bundle_error(where + ": " + manifest_name + ": " + *problem + "; re-export the bundle");
}

void check_asset(const std::string& name, const Json& value, const std::string& where) {
  const auto form = std::find_if(asset_forms.begin(), asset_forms.end(), [&](auto& known) { return name == known.first; });
  if (form == asset_forms.end()) return;
  auto problem = find_problem(value, manifest_schema().at("$defs").at(form->second), manifest_schema());
  if (!problem && name == "image") problem = image_problem(value);
  if (problem) throw bundle_error(where + ": asset " + name + ": " + *problem + "; re-export the bundle");
}

}  // namespace attn
