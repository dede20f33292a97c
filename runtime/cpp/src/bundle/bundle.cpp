#include "bundle/bundle.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "bundle/external_data.h"
#include "bundle/manifest.h"
#include "bundle/recover.h"
#include "bundle/safetensors.h"
#include "format/sha256.h"
#include "util/error.h"
#include "util/files.h"
#include "util/names.h"

namespace attn {
namespace fs = std::filesystem;

namespace {

constexpr int patience = 20;  // how often a bundle may be replaced while it is being opened

const std::string& text_of(const Json& value) { return value.get_ref<const std::string&>(); }

// What tells a folder from one that replaced it: inodes are used again, and a copy may have the time of the content, so its time of change too.
struct Identity {
  ino_t inode;
  time_t seconds;
  long nanoseconds;
  bool operator==(const Identity& other) const {
    return inode == other.inode && seconds == other.seconds && nanoseconds == other.nanoseconds;
  }
};

std::vector<std::string> bundles_beside(const fs::path& path) {
  std::vector<std::string> names;
  std::error_code ignored;
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  for (fs::directory_iterator at(folder, ignored), end; !ignored && at != end; at.increment(ignored)) {
    if (at->path().extension() == ".attn") names.push_back(at->path().filename().string());
  }
  return names;
}

Identity check_folder(const fs::path& path) {
  const std::string where = "bundle " + path.filename().string();
  struct stat found {};
  if (::stat(path.c_str(), &found) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) {
      const auto near = nearest(path.filename().string(), bundles_beside(path));
      throw bundle_error(where + ": " + path.string() + " does not exist; " + (near ? "did you mean " + *near + "?" : "check the path"));
    }
    throw bundle_error(where + ": can't open " + path.string() + ": " + std::generic_category().message(errno) +
                       "; check the path and its permissions");
  }
  if (!S_ISDIR(found.st_mode)) {
    throw bundle_error(where + ": " + path.string() + " is a file, expected a folder NAME.attn; check the path");
  }
  return {found.st_ino, found.st_ctim.tv_sec, found.st_ctim.tv_nsec};
}

Mark check_file(const fs::path& real, const std::string& relative, uint64_t size, const std::string& where) {
  struct stat found {};
  if (::stat(real.c_str(), &found) != 0) {
    const std::string what = errno == ENOENT ? "is missing" : "can't be read (" + std::generic_category().message(errno) + ")";
    throw bundle_error(where + ": " + relative + " " + what + "; restore it or re-export the bundle");
  }
  if (!S_ISREG(found.st_mode)) {
    throw bundle_error(where + ": " + relative + " is not a regular file; restore it or re-export the bundle");
  }
  if (static_cast<uint64_t>(found.st_size) != size) {
    throw bundle_error(where + ": " + relative + " has " + std::to_string(found.st_size) + " bytes, manifest says " + std::to_string(size) +
                       "; the file was changed after export; re-export or restore it");
  }
  return Mark(found);
}

// `digest` gives the sha256 of the file.
template <typename Digest>
void check_hash(const std::string& where, const std::string& relative, const std::string& expected, Digest digest) {
  std::string found;
  try {
    found = digest();
  } catch (const std::system_error& error) {
    throw bundle_error(where + ": can't read " + relative + ": " + error.code().message() + "; check its permissions");
  }
  if (found != expected) {
    throw bundle_error(where + ": sha256 of " + relative + " is " + found + ", manifest says " + expected +
                       "; the file was changed after export; re-export or restore it");
  }
}

// A graph may only read weights that the manifest lists and that were hashed.
void check_data(const Precision& precision, const std::string& where) {
  std::vector<fs::path> listed;
  for (const fs::path& path : precision.data) listed.push_back(resolve(path));
  for (const fs::path& path : check_external_data(precision.file, where)) {
    if (std::find(listed.begin(), listed.end(), path) != listed.end()) continue;
    std::vector<std::string> names;
    for (const fs::path& data : precision.data) names.push_back(data.filename().string());
    throw bundle_error(where + ": " + precision.file.filename().string() + " keeps tensors in " + shown(path.filename().string()) +
                       ", which the manifest does not list as its data, only " + shown(names) + "; re-export the bundle");
  }
}

Dim dim_of(const Json& data) {
  Dim dim{std::nullopt, data.at("min").get<int64_t>(), data.at("opt").get<int64_t>(), data.at("max").get<int64_t>()};
  if (!data.at("name").is_null()) dim.name = text_of(data.at("name"));
  return dim;
}

TensorSpec spec_of(const Json& data) {
  TensorSpec spec;
  spec.name = text_of(data.at("name"));
  spec.dtype = dtype_of(text_of(data.at("dtype"))).value();
  for (const Json& dim : data.at("dims")) spec.dims.push_back(dim_of(dim));
  if (data.contains("meaning")) spec.meaning = text_of(data.at("meaning"));
  if (data.contains("unit")) spec.unit = text_of(data.at("unit"));
  if (data.contains("low")) spec.low = data.at("low").get<int64_t>();
  if (data.contains("high")) spec.high = data.at("high").get<int64_t>();
  return spec;
}

Tolerance tolerance_of(const Json& data) {
  Tolerance found{data.at("atol").get<double>(), data.at("rtol").get<double>()};
  if (data.contains("rtols")) {
    for (const auto& [output, rtol] : data.at("rtols").items()) found.rtols[output] = rtol.get<double>();
  }
  if (!data.contains("fills")) return found;
  for (const auto& [output, ranges] : data.at("fills").items()) {
    for (const Json& range : ranges) found.fills[output].emplace_back(range[0].get<double>(), range[1].get<double>());
  }
  return found;
}

Precision precision_of(const std::string& name, const Json& data, const Bundle& bundle) {
  Precision found;
  found.name = name;
  found.file = bundle.file(text_of(data.at("file")));
  for (const Json& path : data.at("data")) found.data.push_back(bundle.file(text_of(path)));
  found.tolerance = tolerance_of(data.at("tolerance"));
  if (data.contains("type")) found.type = text_of(data.at("type"));
  if (data.contains("target")) found.target = text_of(data.at("target"));
  if (data.contains("half_io")) found.half_io = data.at("half_io").get<bool>();
  found.quantised = data.contains("quantised");
  found.calibrated = found.quantised && data.at("quantised").at("activations") == "static";
  found.sha256 = text_of(bundle.manifest.at("files").at(text_of(data.at("file"))).at("sha256"));
  return found;
}

GoldenCase golden_of(const Json& data, const Bundle& bundle) {
  GoldenCase found{text_of(data.at("case")), {}, bundle.file(text_of(data.at("inputs"))), bundle.file(text_of(data.at("outputs"))), {}};
  if (data.contains("types")) {
    for (const Json& type : data.at("types")) found.types.push_back(text_of(type));
  }
  for (const auto& [name, size] : data.at("sizes").items()) found.sizes[name] = size.get<int64_t>();
  return found;
}

Graph graph_of(const std::string& name, const Json& data, const Bundle& bundle) {
  Graph graph;
  graph.name = name;
  for (const Json& tensor : data.at("inputs")) graph.inputs.push_back(spec_of(tensor));
  for (const Json& tensor : data.at("outputs")) graph.outputs.push_back(spec_of(tensor));
  for (const auto& [key, entry] : data.at("precisions").items()) graph.precisions.push_back(precision_of(key, entry, bundle));
  for (const Json& golden : data.at("golden")) graph.golden.push_back(golden_of(golden, bundle));
  return graph;
}

std::shared_ptr<const Bundle> read_bundle(const fs::path& path, bool paranoid) {
  auto bundle = std::make_shared<Bundle>();
  bundle->path = path;
  bundle->paranoid = paranoid;
  bundle->where = "bundle " + path.filename().string();
  const std::string& where = bundle->where;
  const fs::path root = resolve(path);
  bundle->files = std::make_shared<OpenedFiles>(root, where);
  const fs::path manifest_file = inside(root, manifest_name, where);
  const int64_t began = system_time_ns();
  const KnownHashes known = paranoid ? KnownHashes() : recall_hashes(root);
  KnownHashes settled;
  const auto before = Mark::of(manifest_file);
  bundle->manifest_text = read_text(manifest_file, where);
  const bool is_same = before && before == Mark::of(manifest_file);
  bundle->manifest = parse_json(bundle->manifest_text, where + ": " + manifest_file.filename().string());
  const Json& manifest = bundle->manifest;
  const std::string mine = std::string(kChecked) + "c++ " + manifest_rules();
  const auto checked = known.find(mine);
  if (!is_same || checked == known.end() || checked->second.first != *before) check_manifest(manifest, where);
  if (is_same && settled_before(*before, began)) {
    settled.emplace(mine, std::make_pair(*before, ""));
    for (const auto& [name, told] : known) {  // what the other reader found
      if (name.rfind(kChecked, 0) == 0 && told.first == *before) settled.emplace(name, told);
    }
  }
  bundle->name = text_of(manifest.at("name"));
  const auto& files = manifest.at("files").get_ref<const Json::object_t&>();
  // All sizes first: they cost nothing, and a hash of gigabytes is wasted on a bundle that lacks a file.
  std::map<std::string, Mark> marks;
  for (const auto& [relative, entry] : files) {
    marks.emplace(relative, check_file(inside(root, relative, where), relative, entry.at("size").get<uint64_t>(), where));
    bundle->listed.insert(relative);
  }
  // The texts of assets are kept: a server asks for them long after the bundle was replaced. Too large ones are refused when they are asked for.
  for (const auto& [name, relative] : manifest.at("assets").items()) {
    if (files.at(text_of(relative)).at("size").get<uint64_t>() <= max_asset_bytes) bundle->asset_texts[text_of(relative)];
  }
  std::vector<char> chunk;
  for (const auto& listed_file : files) {
    const std::string& relative = listed_file.first;  // C++17 lets no lambda have a name of a structured binding
    const auto& entry = listed_file.second;
    const Mark& mark = marks.at(relative);
    const OpenedFiles::Listed listed{text_of(entry.at("sha256")), entry.at("size").get<uint64_t>()};
    const auto kept = bundle->asset_texts.find(relative);
    const bool asset = kept != bundle->asset_texts.end();
    if (settled_before(mark, began)) settled.emplace(relative, std::make_pair(mark, listed.sha256));
    const auto read_before = known.find(relative);
    if (!asset && read_before != known.end() && read_before->second == std::make_pair(mark, listed.sha256)) {
      bundle->files->trust(relative, listed, mark);
      bundle->unread.insert(relative);
    } else {
      check_hash(where, relative, listed.sha256,
                 [&] { return bundle->files->hash(relative, listed, chunk, asset ? &kept->second : nullptr); });
    }
  }
  for (const auto& [name, data] : manifest.at("graphs").items()) bundle->graphs.push_back(graph_of(name, data, *bundle));
  for (const Graph& graph : bundle->graphs) {
    for (const Precision& precision : graph.precisions) {
      // Which other files a graph names is said by its bytes, which were held to the manifest's before they were known.
      if (bundle->unread.count(precision.file.lexically_relative(root).generic_string()) == 0) check_data(precision, where);
    }
  }
  if (!paranoid && !settled.empty() && settled != known) remember_hashes(root, settled);
  return bundle;
}

}  // namespace

Tolerance Tolerance::of(const std::string& output) const {
  Tolerance own = *this;
  const auto found = rtols.find(output);
  if (found != rtols.end()) own.rtol = found->second;
  return own;
}

const std::vector<FillRange>& Tolerance::fills_of(const std::string& output) const {
  static const std::vector<FillRange> none;
  const auto found = fills.find(output);
  return found == fills.end() ? none : found->second;
}

const Precision& Graph::precision(const std::optional<std::string>& asked, const std::string& where) const {
  const std::string wanted = asked.value_or("fp32");
  for (const Precision& precision : precisions) {
    if (precision.name == wanted) return precision;
  }
  if (!asked) return precisions.front();
  std::vector<std::string> names;
  for (const Precision& precision : precisions) names.push_back(precision.name);
  throw unknown("precision", *asked, names, where);
}

std::shared_ptr<const Bundle> Bundle::open(const fs::path& given, bool paranoid) {
  // "a.attn/" is called a.attn.
  const fs::path path = given.has_filename() || !given.has_relative_path() ? given : given.parent_path();
  for (int tries = 0; tries < patience; ++tries) {
    recover(path);
    const Identity before = check_folder(path);
    try {
      return read_bundle(path, paranoid || is_paranoid());
    } catch (const Error&) {
      // Half of it may be of one export and half of the next, which replaced it meanwhile.
      recover(path);
      if (check_folder(path) == before) throw;
    }
  }
  throw bundle_error("bundle " + path.filename().string() + ": it is being replaced over and over; try again later");
}

void Bundle::read_rest() const {
  std::vector<char> chunk;
  for (const std::string& relative : unread) {
    check_hash(where, relative, text_of(manifest.at("files").at(relative).at("sha256")), [&] { return sha256_of(file(relative), chunk); });
  }
}

const Graph& Bundle::graph(const std::optional<std::string>& asked) const {
  if (!asked && graphs.size() == 1) return graphs.front();
  std::vector<std::string> names;
  for (const Graph& graph : graphs) {
    if (asked && graph.name == *asked) return graph;
    names.push_back(graph.name);
  }
  const std::string what = asked ? "has no graph " + shown(*asked) : "has " + std::to_string(graphs.size()) + " graphs";
  throw bundle_error(where + ": " + what + "; name one of " + joined(names));
}

std::string Bundle::label(const Graph& graph) const { return where + (graphs.size() > 1 ? ", graph " + graph.name : ""); }

fs::path Bundle::file(const std::string& relative) const {
  if (listed.count(relative)) return files->folder / relative;
  const auto near = nearest(relative, {listed.begin(), listed.end()});
  throw bundle_error(where + ": lists no file " + shown(relative) + "; " +
                     (near ? "did you mean " + *near + "?" : "see files in manifest.json"));
}

const std::string* Bundle::asset_text(const std::string& asked) const {
  return asset(asked) ? &asset_texts.at(text_of(manifest.at("assets").at(asked))) : nullptr;
}

std::optional<Json> Bundle::asset(const std::string& asked) const {
  const Json& assets = manifest.at("assets");
  const auto relative = assets.find(asked);
  if (relative == assets.end()) return std::nullopt;
  const auto kept = asset_texts.find(text_of(*relative));
  if (kept == asset_texts.end()) {
    read_text(file(text_of(*relative)), where, max_asset_bytes);  // too large, which this refuses
    throw files->replaced();
  }
  Json value = parse_json(kept->second, where + ": " + file(text_of(*relative)).filename().string());
  check_asset(asked, value, where);
  return value;
}

Tensors Bundle::tensors(const fs::path& file, const std::vector<TensorSpec>& specs, const std::map<std::string, int64_t>& sizes,
                        const std::string& label) const {
  return files->read({file}, [&] { return read_tensors(file, specs, sizes, label); });
}

Tensors Bundle::golden_inputs(const Graph& graph, const GoldenCase& golden) const {
  return tensors(golden.inputs, graph.inputs, golden.sizes, where + ": golden case " + shown(golden.name));
}

Tensors Bundle::golden_outputs(const Graph& graph, const GoldenCase& golden) const {
  return tensors(golden.outputs, graph.outputs, golden.sizes, where + ": golden case " + shown(golden.name));
}

}  // namespace attn
