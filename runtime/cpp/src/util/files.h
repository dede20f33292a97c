// Files of a bundle, opened without trust: a pipe or a device in their place must not block, and no link leads out.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <system_error>

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

// `path` with every link followed, as far as it exists. Throws std::system_error for a loop of links.
std::filesystem::path resolve(const std::filesystem::path& path);

// Whether a resolved path is `root` or lies in it.
bool lies_in(const std::filesystem::path& path, const std::filesystem::path& root);

// What a shell copies `folder` with, files in the place of links: a model cache keeps its files elsewhere.
std::string copy_command(const std::filesystem::path& folder);

// root/relative with every link followed; bundle_error, opened by `where`, where that leads out of the bundle. `root` is resolved.
std::filesystem::path inside(const std::filesystem::path& root, const std::string& relative, const std::string& where);

}  // namespace attn
