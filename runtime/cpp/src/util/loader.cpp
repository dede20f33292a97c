#include "util/loader.h"

#include <dlfcn.h>

#include "util/text.h"

namespace attn {

std::filesystem::path file_of(const void* address) {
  Dl_info found{};
  if (!dladdr(address, &found) || !found.dli_fname) return {};
  std::error_code ignored;
  const std::filesystem::path path = std::filesystem::canonical(found.dli_fname, ignored);
  return ignored ? std::filesystem::path(found.dli_fname) : path;
}

std::filesystem::path own_folder() {
  static const char here = 0;
  return file_of(&here).parent_path();
}

std::string said_by_loader() {
  const char* said = dlerror();
  return one_line(said ? said : "no reason given");
}

}  // namespace attn
