#include "util/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>

#include "util/error.h"
#include "util/text.h"

namespace attn {
namespace fs = std::filesystem;

namespace {

[[noreturn]] void fail() { throw std::system_error(errno, std::generic_category()); }

}  // namespace

File::File(const fs::path& path) {
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (descriptor_ < 0) fail();
  struct stat found {};
  if (::fstat(descriptor_, &found) != 0) {
    const int code = errno;
    ::close(descriptor_);
    throw std::system_error(code, std::generic_category());
  }
  regular_ = S_ISREG(found.st_mode);
  size_ = static_cast<uint64_t>(found.st_size);
}

File::~File() { ::close(descriptor_); }

size_t File::read_at(uint64_t at, void* data, size_t count) const {
  size_t done = 0;
  while (done < count) {
    const ssize_t got = ::pread(descriptor_, static_cast<char*>(data) + done, std::min(count - done, size_t{1} << 30),
                                static_cast<off_t>(at + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail();
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

fs::path resolve(const fs::path& path) {
  // std::filesystem's weakly_canonical leaves a link to nothing as it stands, and that may lead out as well as any.
  const fs::path whole = fs::absolute(path);
  std::deque<fs::path> parts(whole.begin(), whole.end());
  fs::path found;
  for (int links = 0; !parts.empty();) {
    const fs::path part = parts.front();
    parts.pop_front();
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      found = found.parent_path();
      continue;
    }
    const fs::path next = found / part;
    std::error_code none;
    const fs::path target = fs::read_symlink(next, none);
    if (none) {  // no link, or nothing there
      found = next;
      continue;
    }
    if (++links > 40) throw std::system_error(ELOOP, std::generic_category());
    parts.insert(parts.begin(), target.begin(), target.end());  // the "/" of an absolute one takes the place of `found`
  }
  return found;
}

bool lies_in(const fs::path& path, const fs::path& root) {
  return std::mismatch(root.begin(), root.end(), path.begin(), path.end()).first == root.end();
}

std::string copy_command(const fs::path& folder) {
  return "cp -rL " + quoted(folder.string()) + " " + quoted(folder.stem().string() + "-copy" + folder.extension().string());
}

fs::path inside(const fs::path& root, const std::string& relative, const std::string& where) {
  fs::path real;
  try {
    real = resolve(root / relative);
  } catch (const std::system_error&) {
    throw bundle_error(where + ": " + relative + " is a loop of links; re-export the bundle");
  }
  if (!lies_in(real, root)) {
    throw bundle_error(where + ": " + relative + " is a link out of the bundle, to " + shown(real.string(), 160) +
                       "; if you trust it, copy the files in with " + copy_command(root) + " and open the copy");
  }
  return real;
}

}  // namespace attn
