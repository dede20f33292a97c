#include "util/files.h"

#include <fcntl.h>
#include <poll.h>
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

std::optional<int> open_descriptor(const fs::path& path) {
  const std::string name = path.string();
  int number = -1;
  for (const std::string folder : {"/dev/fd/", "/proc/self/fd/"}) {
    if (name.rfind(folder, 0) != 0) continue;
    const std::string digits = name.substr(folder.size());
    if (digits.empty() || digits.size() > 9 || digits.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
    number = std::stoi(digits);
  }
  if (name == "/dev/stdin") number = 0;
  struct stat found {};
  if (number < 0 || (::fstat(number, &found) == 0 && S_ISREG(found.st_mode))) return std::nullopt;
  return number;
}

std::string irregular(const fs::path& path) {
  switch (fs::status(path).type()) {
    case fs::file_type::regular: return "";
    case fs::file_type::directory: return "is not a regular file, but a folder";
    case fs::file_type::fifo: return "is not a regular file, but a FIFO";
    case fs::file_type::socket: return "is not a regular file, but a socket";
    case fs::file_type::character:
    case fs::file_type::block: return "is not a regular file, but a device";
    default: return "there is no such file";
  }
}

std::string identity(int descriptor) {
  struct stat found {};
  if (::fstat(descriptor, &found) != 0) return "";  // that it is closed is told when it is read
  return std::to_string(found.st_dev) + ":" + std::to_string(found.st_ino);
}

std::vector<uint8_t> read_stream(int descriptor, size_t most) {
  std::vector<uint8_t> data;
  for (size_t size = 0;;) {
    data.resize(size + (size_t{1} << 20));
    const ssize_t got = ::read(descriptor, data.data() + size, data.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {  // whoever opened it does not wait, and the writer is not done
      pollfd ready{descriptor, POLLIN, 0};
      if (::poll(&ready, 1, -1) < 0 && errno != EINTR) fail();
      data.resize(size);
      continue;
    }
    if (got < 0) fail();
    size += static_cast<size_t>(got);
    data.resize(size);
    if (got == 0 || size > most) return data;
  }
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
