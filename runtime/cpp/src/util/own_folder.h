// Folders and files that nobody but this user can have written: what is found there may be believed later. The Python twin is
// attn_runtime/files/own_folder.py.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>

namespace attn {

// An open descriptor, closed with it; -1 for none.
class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number(number) {}
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept : number(other.number) { other.number = -1; }
  Descriptor& operator=(Descriptor&& other) noexcept;

  int number;
};

// Whether it is this user's (of root, root's), and neither its group nor others may write to it.
bool is_own(const struct stat& found);

// What the file `name` in an open folder holds; none where it is not there, is a link, no regular file, larger than `most` bytes, or could be
// somebody else's.
std::optional<std::string> own_text(int folder, const std::string& name, size_t most);

// $XDG_CACHE_HOME/attn-runtime/NAME, or that in ~/.cache; `make` makes it. None where it is not there, where it or the folder above is a
// link, and where somebody else could write to either.
Descriptor own_cache_folder(const std::string& name, bool make = false);

}  // namespace attn
