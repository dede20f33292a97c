#include "bundle/opened_files.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "format/sha256.h"
#include "util/files.h"
#include "util/forks.h"

namespace attn {
namespace fs = std::filesystem;

namespace {

constexpr size_t chunk_bytes = size_t{1} << 20;
// File systems stamp by a clock that ticks up to so slowly: what changed within a tick may have the same time twice.
constexpr std::chrono::milliseconds tick{10};

}  // namespace

std::string sha256_of(const fs::path& path, std::vector<char>& chunk, std::string* keep) {
  chunk.resize(chunk_bytes);
  const File file(path);
  Sha256 digest;
  for (uint64_t at = 0;;) {
    const size_t got = file.read_at(at, chunk.data(), chunk.size());
    digest.update(chunk.data(), got);
    if (keep) keep->append(chunk.data(), got);
    at += got;
    if (got < chunk.size()) return digest.hexadecimal();
  }
}

std::string OpenedFiles::hash(const std::string& relative, const Listed& listed, std::vector<char>& chunk, std::string* keep) {
  const fs::path path = folder / relative;
  const std::optional<Mark> before = Mark::of(path);
  std::string found = sha256_of(path, chunk, keep);
  listed_[path] = listed;
  if (before && settled(*before)) known_.insert_or_assign(path, *before);  // one so young may change and look the same
  return found;
}

void OpenedFiles::trust(const std::string& relative, const Listed& listed, const Mark& mark) {
  listed_[folder / relative] = listed;
  if (settled(mark)) known_.insert_or_assign(folder / relative, mark);
}

bool OpenedFiles::settled(const Mark& mark) {
  return mark.changed_ns < system_time_ns() - std::chrono::nanoseconds(tick).count();
}

OpenedFiles::Marks OpenedFiles::marks(const std::vector<fs::path>& files) const {
  std::map<fs::path, Mark> found;
  for (const fs::path& file : files) {
    for (fs::path path = file;; path = path.parent_path()) {
      const std::optional<Mark> mark = Mark::of(path);
      if (!mark) return std::nullopt;
      found.emplace(path, *mark);
      if (path == folder || !path.has_relative_path()) break;
    }
  }
  return found;
}

OpenedFiles::Marks OpenedFiles::checked(const std::vector<fs::path>& files) const {
  for (int tries = 0; tries < patience; ++tries) {
    const Marks found = marks(files);
    if (!found) throw replaced();
    const bool old = std::all_of(found->begin(), found->end(), [](const auto& each) { return settled(each.second); });
    if (!old) std::this_thread::sleep_for(tick);  // or two renames within a tick would go unnoticed
    for (const fs::path& file : files) {
      const Mark& mark = found->at(file);
      {
        const BeforeForks looking;  // a child may open sessions of this bundle
        const std::lock_guard<std::mutex> held(lock_);
        if (const auto known = known_.find(file); known != known_.end() && known->second == mark) continue;
      }
      if (!is_listed(file, mark)) throw replaced();
    }
    if (marks(files) != found) continue;
    const BeforeForks writing;
    const std::lock_guard<std::mutex> held(lock_);
    for (const fs::path& file : files) known_.insert_or_assign(file, found->at(file));
    return found;
  }
  throw replaced();
}

bool OpenedFiles::is_listed(const fs::path& file, const Mark& mark) const {
  const auto listed = listed_.find(file);
  if (listed == listed_.end() || mark.size != static_cast<int64_t>(listed->second.size)) return false;
  std::vector<char> chunk;
  try {
    return sha256_of(file, chunk) == listed->second.sha256;
  } catch (const std::system_error&) {
    return false;
  }
}

}  // namespace attn
