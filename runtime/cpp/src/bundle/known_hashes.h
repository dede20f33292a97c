// The hashes of a bundle's files as they were when this user last read them, so that gigabytes are not read to open it again. What is
// promised, and where it lies, says the Python twin, attn_runtime/bundle/known_hashes.py: both use the same files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>

struct stat;

namespace attn {

// Device, inode, size and time of the content (of a folder neither), and time of change, which a rename sets, too.
struct Mark {
  explicit Mark(const struct stat& found);
  static std::optional<Mark> of(const std::filesystem::path& path);  // links followed; none where nothing can be seen
  Mark(uint64_t device, uint64_t inode, int64_t size, int64_t content_ns, int64_t changed_ns)
      : device(device), inode(inode), size(size), content_ns(content_ns), changed_ns(changed_ns) {}

  uint64_t device, inode;
  int64_t size, content_ns, changed_ns;
  bool operator==(const Mark& other) const {
    return device == other.device && inode == other.inode && size == other.size && content_ns == other.content_ns &&
           changed_ns == other.changed_ns;
  }
  bool operator!=(const Mark& other) const { return !(*this == other); }
};

// Mark and sha256, by path in the bundle.
using KnownHashes = std::map<std::string, std::pair<Mark, std::string>>;

// Begins the name of who has found the manifest to be valid, and of which version; its mark is the manifest's. No path begins so.
constexpr char kChecked[] = "/checked by ";

// Whether the environment asks that nothing be believed: ATTN_PARANOID=1.
bool is_paranoid();

// Of the files in the bundle at `folder`. Nothing where that is missing, damaged, of another form or could be somebody else's.
KnownHashes recall_hashes(const std::filesystem::path& folder);

// Writes them down. Where that can't be done, the files are read again next time.
void remember_hashes(const std::filesystem::path& folder, const KnownHashes& known);

// Whether any change after `time_ns`, of the system's clock, would show in the mark: some file systems count in steps of two seconds.
bool settled_before(const Mark& mark, int64_t time_ns);

int64_t system_time_ns();

}  // namespace attn
