#include "util/own_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

namespace attn {
namespace {

constexpr int kFolder = O_RDONLY | O_DIRECTORY | O_CLOEXEC;

std::string cache_home() {
  const char* told = std::getenv("XDG_CACHE_HOME");
  if (told && *told == '/') return told;
  const char* home = std::getenv("HOME");
  return home && *home == '/' ? std::string(home) + "/.cache" : "";
}

}  // namespace

Descriptor::~Descriptor() {
  if (number >= 0) ::close(number);
}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(number, other.number);
  return *this;
}

bool is_own(const struct stat& found) { return found.st_uid == ::geteuid() && !(found.st_mode & (S_IWGRP | S_IWOTH)); }

std::optional<std::string> own_text(int folder, const std::string& name, size_t most) {
  const Descriptor file(::openat(folder, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat found {};
  if (file.number < 0 || ::fstat(file.number, &found) != 0 || !S_ISREG(found.st_mode) || !is_own(found)) return std::nullopt;
  if (static_cast<uint64_t>(found.st_size) > most) return std::nullopt;
  std::string text(static_cast<size_t>(found.st_size), '\0');
  const ssize_t got = ::read(file.number, text.data(), text.size());
  if (got != static_cast<ssize_t>(text.size())) return std::nullopt;
  return text;
}

Descriptor own_cache_folder(const std::string& name, bool make) {
  const std::string base = cache_home();
  if (base.empty()) return Descriptor();
  std::error_code ignored;
  if (make) std::filesystem::create_directories(base, ignored);
  Descriptor above(::open(base.c_str(), kFolder));
  for (const std::string& each : {std::string("attn-runtime"), name}) {
    if (above.number < 0) return above;
    if (make) ::mkdirat(above.number, each.c_str(), 0700);
    above = Descriptor(::openat(above.number, each.c_str(), kFolder | O_NOFOLLOW));
    struct stat found {};
    if (above.number >= 0 && (::fstat(above.number, &found) != 0 || !is_own(found))) return Descriptor();
  }
  return above;
}

}  // namespace attn
