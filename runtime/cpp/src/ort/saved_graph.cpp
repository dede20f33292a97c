#include "ort/saved_graph.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <random>
#include <sstream>
#include <vector>

#include "bundle/known_hashes.h"
#include "bundle/opened_files.h"
#include "format/sha256.h"
#include "util/error.h"
#include "util/own_folder.h"

namespace attn {
namespace fs = std::filesystem;

namespace {

const char kFormat[] = "saved graph 1";
const char kModel[] = "model.onnx";
const char kData[] = "model.onnx.data";
const char kKey[] = "key";
constexpr size_t kMostBytes = size_t{1} << 16;

Error not_written(const fs::path& cache, const std::string& why) {
  return usage_error("cache " + cache.string() + ": can't be written (" + why +
                     "); name a folder that can, or leave cache out to optimise anew in every process");
}

std::string model_sha256(const GraphFile& graph) {
  const Json& files = graph.bundle->manifest.at("files");
  std::string hashes;
  const auto add = [&](const fs::path& path) {
    const std::string relative = path.lexically_relative(graph.bundle->files->folder).generic_string();
    hashes += files.at(relative).at("sha256").get<std::string>() + "\n";
  };
  add(graph.precision->file);
  for (const fs::path& path : graph.precision->data) add(path);
  return sha256_of_text(hashes);
}

fs::path own(const fs::path& cache) {
  std::error_code problem;
  fs::create_directories(cache, problem);
  if (problem) throw not_written(cache, problem.message());
  struct stat found {};
  if (::stat(cache.c_str(), &found) != 0) throw not_written(cache, std::generic_category().message(errno));
  if (!is_own(found)) {
    std::ostringstream mode;
    mode << std::oct << (found.st_mode & 07777);
    throw usage_error("cache " + cache.string() + ": somebody else could write to it (mode " + mode.str() + ", owner " +
                      std::to_string(found.st_uid) +
                      "), and what lies there is run; name a folder that is yours alone to write, or leave cache out");
  }
  return fs::absolute(cache);
}

// What lies there itself, no link followed, where it is this user's own and of this kind.
std::optional<struct stat> own_at(const fs::path& path, mode_t kind) {
  struct stat found {};
  if (::lstat(path.c_str(), &found) != 0 || (found.st_mode & S_IFMT) != kind || !is_own(found)) return std::nullopt;
  return found;
}

std::vector<std::string> files_in(const fs::path& folder) {
  std::vector<std::string> found;
  std::error_code ignored;
  for (const char* name : {kModel, kData}) {
    if (fs::exists(folder / name, ignored)) found.emplace_back(name);
  }
  return found;
}

// A hidden sibling of a folder, in which the folder is made. Held under a lock as attn_runtime/files/atomic_write.py has it, whose sweep
// takes what nobody holds.
class Staging {
 public:
  explicit Staging(const fs::path& target) : target_(target) {
    std::random_device random;
    folder_ = target.parent_path() / ("." + target.filename().string() + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(random()));
    fs::create_directory(folder_);
    lock_ = Descriptor(::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ::flock(lock_.number, LOCK_EX | LOCK_NB);
    fs::create_directory(made());
  }
  ~Staging() {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  fs::path made() const { return folder_ / "new"; }

  // Puts it in the place of the target; what was there goes with the rest.
  void publish() const {
    constexpr fs::perms others = fs::perms::group_write | fs::perms::others_write;
    for (const auto& entry : fs::directory_iterator(made())) fs::permissions(entry.path(), others, fs::perm_options::remove);
    fs::permissions(made(), others, fs::perm_options::remove);
    std::error_code none;
    fs::rename(target_, folder_ / "old", none);
    fs::rename(made(), target_);
  }

 private:
  fs::path target_, folder_;
  Descriptor lock_;
};

}  // namespace

struct SavedGraph::Listed {
  int64_t size;
  std::string sha256;
};

std::string processor_sha256() {
  static const std::array<std::string, 10> told{"vendor_id",       "cpu family",       "model",       "model name", "flags",
                                                "CPU implementer", "CPU architecture", "CPU variant", "CPU part",   "Features"};
  std::ifstream file("/proc/cpuinfo");
  std::string kept;
  for (std::string line; std::getline(file, line) && !line.empty();) {
    std::string name = line.substr(0, line.find(':'));
    name.erase(name.find_last_not_of(" \t") + 1);
    if (std::find(told.begin(), told.end(), name) != told.end()) kept += line + "\n";
  }
  return sha256_of_text(kept);
}

SavedGraph::SavedGraph(const GraphFile& graph, const fs::path& cache, const OrtLibrary& library, const ConfigEntries& options)
    : cache_(own(cache)) {
  key_ = std::string(kFormat) + "\nmodel: " + model_sha256(graph) + "\nonnxruntime: " + library.version +
         "\nbuild: " + library.api->GetBuildInfoString() + "\nprocessor: " + processor_sha256() + "\nproviders: CPUExecutionProvider\n";
  for (const auto& [name, value] : options) key_ += "option " + name + ": " + value + "\n";
  folder_ = cache_ / "ort" / sha256_of_text(key_).substr(0, 32);
}

std::optional<std::map<std::string, SavedGraph::Listed>> SavedGraph::listed() const {
  const std::optional<std::string> text = own_text(AT_FDCWD, folder_ / kKey, kMostBytes);
  if (!text || text->compare(0, key_.size(), key_) != 0) return std::nullopt;
  std::map<std::string, Listed> files;
  std::istringstream lines(text->substr(key_.size()));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string word, name, size, sha256, rest;
    words >> word >> name >> size >> sha256;
    const bool number = !size.empty() && size.size() < 19 && size.find_first_not_of("0123456789") == std::string::npos;
    if (word != "file" || (name != kModel && name != kData) || !number || sha256.empty() || (words >> rest)) return std::nullopt;
    files[name] = {std::stoll(size), sha256};
  }
  if (files.count(kModel) == 0 || files.size() != files_in(folder_).size()) return std::nullopt;
  return files;
}

std::optional<fs::path> SavedGraph::find(bool paranoid) const {
  if (!own_at(folder_.parent_path(), S_IFDIR) || !own_at(folder_, S_IFDIR)) return std::nullopt;
  const auto files = listed();
  if (!files) return std::nullopt;
  const int64_t began = system_time_ns();
  paranoid = paranoid || is_paranoid();
  const KnownHashes known = paranoid ? KnownHashes() : recall_hashes(folder_);
  KnownHashes settled;
  std::vector<char> chunk;
  try {
    for (const auto& [name, told] : *files) {
      const auto found = own_at(folder_ / name, S_IFREG);
      if (!found || found->st_size != told.size) return std::nullopt;
      const auto marked = std::make_pair(Mark(*found), told.sha256);
      const auto before = known.find(name);
      const bool is_known = before != known.end() && before->second == marked;
      if (!is_known && sha256_of(folder_ / name, chunk) != told.sha256) return std::nullopt;
      if (settled_before(marked.first, began)) settled.emplace(name, marked);
    }
  } catch (const std::system_error&) {
    return std::nullopt;
  }
  if (!paranoid && !settled.empty() && settled != known) remember_hashes(folder_, settled);
  return folder_ / kModel;
}

void SavedGraph::write(const std::function<void(const ConfigEntries&, const fs::path&)>& open) const {
  const ConfigEntries told{{"session.optimized_model_external_initializers_file_name", kData},
                           {"session.optimized_model_external_initializers_min_size_in_bytes", "1024"},
                           {"session.save_external_prepacked_constant_initializers", "1"}};
  try {
    // Whatever the process's mask lets others do: what others may write to is not believed.
    if (::mkdir(folder_.parent_path().c_str(), 0700) != 0 && errno != EEXIST) throw std::system_error(errno, std::generic_category());
    const Staging staging(folder_);
    open(told, staging.made() / kModel);
    std::string text = key_;
    std::vector<char> chunk;
    for (const std::string& name : files_in(staging.made())) {
      const fs::path file = staging.made() / name;
      text += "file " + name + " " + std::to_string(fs::file_size(file)) + " " + sha256_of(file, chunk) + "\n";
    }
    std::ofstream(staging.made() / kKey, std::ios::binary) << text;
    staging.publish();
  } catch (const std::system_error& error) {  // those of std::filesystem, too
    throw not_written(cache_, error.code().message());
  }
}

}  // namespace attn
