// Files of a bundle, opened without trust: a pipe or a device in their place must not block, and no link leads out.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

namespace attn {

// Open for reading. Throws std::system_error where that fails.
class File {
 public:
  explicit File(const std::filesystem::path& path);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  bool regular() const { return regular_; }
  uint64_t size() const { return size_; }  // when it was opened
  // Bytes from `at` on: `count` of them, fewer only where the file ends.
  size_t read_at(uint64_t at, void* data, size_t count) const;

 private:
  int descriptor_;
  bool regular_;
  uint64_t size_;
};

// The number of an open descriptor that /dev/stdin, /dev/fd/N or /proc/self/fd/N stands for; none for the name of a file, and where what
// is open is a regular file.
std::optional<int> open_descriptor(const std::filesystem::path& path);

// Why there is no file to read at `path`, links followed, for a message; "" for a file. Raises std::system_error where that can't be seen.
std::string irregular(const std::filesystem::path& path);

// What tells an open descriptor from others, also from a later one of the same number.
std::string identity(int descriptor);

// All of an open descriptor until its writer closes it, or the first `most` bytes and more. Throws std::system_error where that fails.
std::vector<uint8_t> read_stream(int descriptor, size_t most);

// `path` with every link followed, as far as it exists. Throws std::system_error for a loop of links.
std::filesystem::path resolve(const std::filesystem::path& path);

// Whether a resolved path is `root` or lies in it.
bool lies_in(const std::filesystem::path& path, const std::filesystem::path& root);

// What a shell copies `folder` with, files in the place of links: a model cache keeps its files elsewhere.
std::string copy_command(const std::filesystem::path& folder);

// root/relative with every link followed; bundle_error, opened by `where`, where that leads out of the bundle. `root` is resolved.
std::filesystem::path inside(const std::filesystem::path& root, const std::string& relative, const std::string& where);

}  // namespace attn
