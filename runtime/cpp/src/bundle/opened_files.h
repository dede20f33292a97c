// The files of a bundle that is open: they are read as those of the export that was opened, or not at all. A file that lies where it lay, of the
// size and with the times that it had when it was known, is taken for the same one; any other is hashed again. The Python twin is
// attn_runtime/bundle/opened_files.py.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bundle/known_hashes.h"
#include "util/error.h"

namespace attn {

// Of a whole file, read through `chunk`; `keep`, where there is one, gets the content. std::system_error where it can't be read.
std::string sha256_of(const std::filesystem::path& path, std::vector<char>& chunk, std::string* keep = nullptr);

class OpenedFiles {
 public:
  // `folder` is absolute, and without links, so that neither a chdir nor another link leads elsewhere.
  OpenedFiles(std::filesystem::path folder, std::string where) : folder(std::move(folder)), where_(std::move(where)) {}

  const std::filesystem::path folder;

  // What the manifest says of a file; its content is what it says. std::system_error where it can't be read. Not for threads.
  struct Listed {
    std::string sha256;
    uint64_t size;
  };
  // `keep`, where there is one, gets the content.
  std::string hash(const std::string& relative, const Listed& listed, std::vector<char>& chunk, std::string* keep = nullptr);

  // Takes a file for the manifest's, as long as it has this mark. Not for threads.
  void trust(const std::string& relative, const Listed& listed, const Mark& mark);

  Error replaced() const { return bundle_error(where_ + ": was replaced since it was opened; open it again"); }

  // What `action` returns, which reads these listed files below the folder; it is called again where something changed meanwhile and the files
  // are still the same. Raises what it raises, and bundle_error where they are another export's.
  template <typename Action>
  auto read(const std::vector<std::filesystem::path>& files, Action action) const {
    for (int tries = 0; tries < patience; ++tries) {
      const Marks before = checked(files);
      try {
        auto result = action();
        if (marks(files) == before) return result;
      } catch (const Error&) {
        if (marks(files) == before) throw;  // else it may have read half of one export and half of the next
      }
    }
    throw replaced();
  }

 private:
  static constexpr int patience = 20;

  using Marks = std::optional<std::map<std::filesystem::path, Mark>>;

  static bool settled(const Mark& mark);
  // Of the files, and of the folders down to them; none where one is not there.
  Marks marks(const std::vector<std::filesystem::path>& files) const;
  // The marks under which all of the files are the manifest's.
  Marks checked(const std::vector<std::filesystem::path>& files) const;
  bool is_listed(const std::filesystem::path& file, const Mark& mark) const;
  std::string where_;
  std::map<std::filesystem::path, Listed> listed_;
  mutable std::mutex lock_;  // of known_
  mutable std::map<std::filesystem::path, Mark> known_;
};

}  // namespace attn
