#include "bundle/recover.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace attn {
namespace fs = std::filesystem;

namespace {

constexpr std::chrono::seconds patience{1};
constexpr std::chrono::milliseconds pause{20};

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::symlink_status(path, ignored).type() > fs::file_type::not_found;
}

// The temporary folders of exports to `target`.
std::vector<fs::path> stagings(const fs::path& target) {
  std::vector<fs::path> found;
  std::error_code ignored;
  const std::string prefix = "." + target.filename().string() + ".tmp-";
  const fs::path folder = target.has_parent_path() ? target.parent_path() : fs::path(".");
  for (fs::directory_iterator at(folder, ignored), end; !ignored && at != end; at.increment(ignored)) {
    if (at->path().filename().string().compare(0, prefix.size(), prefix) == 0) found.push_back(at->path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

// The lock of a temporary folder, which the kernel drops when the export that holds it dies.
class Lock {
 public:
  explicit Lock(const fs::path& folder) : descriptor_(::open(folder.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (descriptor_ < 0) return;
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
      held_ = errno != EWOULDBLOCK && errno != ENOENT;  // a file system without locks
      return;
    }
    // Another run may have swept the folder after it was opened here: then this lock is of no use.
    struct stat opened {}, there {};
    held_ = ::fstat(descriptor_, &opened) == 0 && ::stat(folder.c_str(), &there) == 0 && opened.st_ino == there.st_ino &&
            opened.st_dev == there.st_dev;
  }
  ~Lock() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  bool held() const { return held_; }

 private:
  int descriptor_;
  bool held_ = false;
};

// Moves what was set aside to where it was, the target last.
void restore(const fs::path& folder, const fs::path& target) {
  std::vector<fs::path> kept;
  for (const auto& entry : fs::directory_iterator(folder / "old")) kept.push_back(entry.path());
  std::stable_partition(kept.begin(), kept.end(), [&](const fs::path& path) { return path.filename() != target.filename(); });
  for (const fs::path& path : kept) {
    const fs::path place = target.parent_path() / path.filename();
    if (fs::is_directory(place)) fs::rename(place, folder / ("half-published-" + path.filename().string()));
    fs::rename(path, place);
  }
}

}  // namespace

void recover(const fs::path& target) {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (!is_there(target)) {
    bool busy = false;
    for (const fs::path& folder : stagings(target)) {
      if (!is_there(folder / "old" / target.filename())) continue;
      const Lock lock(folder);
      if (!lock.held()) {
        busy = true;
        continue;
      }
      try {
        if (!is_there(target)) restore(folder, target);
      } catch (const fs::filesystem_error&) {
      }
    }
    if (!busy || std::chrono::steady_clock::now() > end) return;
    std::this_thread::sleep_for(pause);
  }
}

}  // namespace attn
