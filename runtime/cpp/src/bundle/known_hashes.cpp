#include "bundle/known_hashes.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "format/json.h"
#include "util/own_folder.h"

namespace attn {
namespace fs = std::filesystem;

namespace {

constexpr int kFormat = 1;
constexpr size_t kMostBytes = size_t{1} << 20;
constexpr size_t kMostFiles = 256;
constexpr int64_t kYoungNs = 2'000'000'000;

int64_t nanoseconds(const timespec& time) { return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec; }

std::optional<std::string> name_of(const fs::path& folder) {
  const std::optional<Mark> found = Mark::of(folder);
  if (!found) return std::nullopt;
  char name[64];
  std::snprintf(name, sizeof name, "%llx-%llx.json", static_cast<unsigned long long>(found->device),
                static_cast<unsigned long long>(found->inode));
  return name;
}

bool write_all(int file, const std::string& text) {
  for (size_t done = 0; done < text.size();) {
    const ssize_t wrote = ::write(file, text.data() + done, text.size() - done);
    if (wrote <= 0) return false;
    done += static_cast<size_t>(wrote);
  }
  return true;
}

// Leaves the newest files.
void sweep(int folder) {
  DIR* all = ::fdopendir(::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!all) return;
  std::vector<std::pair<int64_t, std::string>> found;
  while (const dirent* each = ::readdir(all)) {
    struct stat file {};
    if (::fstatat(folder, each->d_name, &file, AT_SYMLINK_NOFOLLOW) != 0 || S_ISDIR(file.st_mode)) continue;
    found.emplace_back(nanoseconds(file.st_mtim), each->d_name);
  }
  ::closedir(all);
  std::sort(found.rbegin(), found.rend());
  for (size_t i = kMostFiles; i < found.size(); ++i) ::unlinkat(folder, found[i].second.c_str(), 0);
}

}  // namespace

Mark::Mark(const struct stat& found)
    : Mark(found.st_dev, found.st_ino, S_ISREG(found.st_mode) ? int64_t{found.st_size} : -1,
           // The size of a folder and the time of its content change with every engine that is built.
           S_ISREG(found.st_mode) ? nanoseconds(found.st_mtim) : 0, nanoseconds(found.st_ctim)) {}

std::optional<Mark> Mark::of(const fs::path& path) {
  struct stat found {};
  if (::stat(path.c_str(), &found) != 0) return std::nullopt;
  return Mark(found);
}

bool is_paranoid() {
  const char* told = std::getenv("ATTN_PARANOID");
  return told && *told && std::string(told) != "0";
}

KnownHashes recall_hashes(const fs::path& folder) {
  const Descriptor own = own_cache_folder("known");
  const std::optional<std::string> name = name_of(folder);
  const std::optional<std::string> text = own.number >= 0 && name ? own_text(own.number, *name, kMostBytes) : std::nullopt;
  if (!text) return {};
  try {
    const Json content = parse_json(*text, "known hashes");
    if (content.at("format") != kFormat) return {};
    KnownHashes known;
    for (const auto& [file, told] : content.at("files").get_ref<const Json::object_t&>()) {
      if (told.size() != 6) return {};
      const Mark mark(told[0].get<uint64_t>(), told[1].get<uint64_t>(), told[2].get<int64_t>(), told[3].get<int64_t>(),
                      told[4].get<int64_t>());
      known.emplace(file, std::make_pair(mark, told[5].get<std::string>()));
    }
    return known;
  } catch (const std::exception&) {  // not of its form
    return {};
  }
}

void remember_hashes(const fs::path& folder, const KnownHashes& known) {
  const Descriptor own = own_cache_folder("known", true);
  const std::optional<std::string> name = name_of(folder);
  if (own.number < 0 || !name) return;
  Json files = Json::object();
  for (const auto& [file, told] : known) {
    const auto& [mark, sha256] = told;
    files[file] = Json::array({mark.device, mark.inode, mark.size, mark.content_ns, mark.changed_ns, sha256});
  }
  std::random_device random;
  const std::string part = "." + std::to_string(::getpid()) + "-" + std::to_string(random());
  const Descriptor file(::openat(own.number, part.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (file.number < 0) return;
  const bool whole = write_all(file.number, Json{{"format", kFormat}, {"files", files}}.dump());
  if (!whole || ::renameat(own.number, part.c_str(), own.number, name->c_str()) != 0) ::unlinkat(own.number, part.c_str(), 0);
  sweep(own.number);
}

bool settled_before(const Mark& mark, int64_t time_ns) { return mark.changed_ns < time_ns - kYoungNs; }

int64_t system_time_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace attn
