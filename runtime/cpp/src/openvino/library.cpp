#include "openvino/library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <map>
#include <mutex>
#include <sstream>
#include <type_traits>
#include <vector>

#include "util/loader.h"
#include "util/text.h"

namespace attn {
namespace {

// As a package for developers installs it, and as the first version that this was tried with calls itself.
constexpr const char* kNames[] = {"libopenvino_c.so", "libopenvino_c.so.2641"};
constexpr int kOldest[] = {2026, 4};
constexpr char kAdvice[] = "; install OpenVINO 2026.4 or newer, or name its C library in ATTN_OPENVINO (pip install openvino brings "
                           "openvino/libs/libopenvino_c.so.*)";

Error does_not_load(const std::string& reason) { return backend_error("OpenVINO does not load (" + reason + ")" + kAdvice); }

// Whether "2026.4.1-22982-..." is young enough.
bool young_enough(const std::string& build) {
  std::istringstream rest(build);
  int year = 0, number = 0;
  char dot = 0;
  return rest >> year >> dot >> number && dot == '.' && (year > kOldest[0] || (year == kOldest[0] && number >= kOldest[1]));
}

}  // namespace

// Libraries by what ATTN_OPENVINO was when they were asked for, "" where it was not set.
class OvLibraries {
 public:
  const OvLibrary& load() {
    const std::lock_guard<ForkMutex> only(mutex_);
    const char* set = std::getenv("ATTN_OPENVINO");
    const std::string named = set ? set : "";
    auto found = by_name_.find(named);
    if (found == by_name_.end()) found = by_name_.emplace(named, open(named.empty() ? usual_names() : std::vector{named})).first;
    return *found->second;
  }

 private:
  // The first of these names that loads.
  static std::unique_ptr<OvLibrary> open(const std::vector<std::string>& names) {
    std::string reason;
    for (const std::string& name : names) {
      if (void* handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL)) return open(name, handle);
      if (reason.empty() || name.front() == '/') reason = said_by_loader();  // of a file that is there rather than of a name
    }
    throw does_not_load(reason);
  }

  static std::vector<std::string> usual_names() {
    std::vector<std::string> names(std::begin(kNames), std::end(kNames));
    for (const char* name : kNames) {
      // Without links: it looks for the rest of OpenVINO beside itself.
      std::error_code missing;
      const std::filesystem::path beside = std::filesystem::canonical(own_folder() / name, missing);
      if (!missing) names.push_back(beside);
    }
    return names;
  }

  static std::unique_ptr<OvLibrary> open(const std::string& name, void* handle) {
    std::unique_ptr<OvLibrary> library(new OvLibrary);
    OvApi& api = library->api;
    const char* missing = nullptr;
    const auto take = [&](auto& call, const char* symbol) {
      call = reinterpret_cast<std::decay_t<decltype(call)>>(dlsym(handle, symbol));
      if (!call && !missing) missing = symbol;
    };
#define ATTN_OV_TAKE(result, name, arguments) take(api.name, "ov_" #name);
    ATTN_OV_CALLS(ATTN_OV_TAKE)
#undef ATTN_OV_TAKE
    if (missing) throw does_not_load(name + " is not its C library, or an old one: it has no " + missing);
    library->path = file_of(reinterpret_cast<const void*>(api.core_create));
    OvVersion version{};
    if (api.get_openvino_version(&version) == 0 && version.build) library->version = version.build;
    api.version_free(&version);
    if (!young_enough(library->version)) {
      throw does_not_load(library->path.string() + " is of version " + printable(library->version) + ", expected 2026.4 or newer");
    }
    library->version = library->version.substr(0, library->version.find('-'));
    return library;
  }

  ForkMutex mutex_;
  std::map<std::string, std::unique_ptr<OvLibrary>> by_name_;
};

const OvLibrary& OvLibrary::load() {
  // Never destroyed, as little as what it loads.
  static auto* libraries = new OvLibraries;
  return libraries->load();
}

const ov_core* OvLibrary::core(const std::string& where) const {
  struct Started {
    ov_core* core;
    Process process;
  };
  static auto& mutex = *new ForkMutex;
  static auto& started = *new std::map<const OvLibrary*, Started>;
  const std::lock_guard<ForkMutex> only(mutex);
  auto found = started.find(this);
  if (found == started.end()) {
    ov_core* made = nullptr;
    if (const std::string reason = failure(api.core_create(&made)); !reason.empty()) {
      throw backend_error(where + ": OpenVINO " + version + " does not start: " + reason);
    }
    found = started.emplace(this, Started{made, {}}).first;
  }
  if (!found->second.process.is_this()) {
    throw backend_error(where + ": OpenVINO was in use before this process was forked, and its threads stayed behind; open the first session "
                        "after the fork, start processes by exec" + kOrtSays);
  }
  return found->second.core;
}

std::string OvLibrary::failure(int status) const {
  if (status == 0) return "";
  const std::string number = "status " + std::to_string(status);
  if (status <= kOvRefused) return number;  // the C interface's own, which leaves the message of an earlier error in place
  const char* said = api.get_last_err_msg();
  if (!said) return number;
  // Places in its source come first, a line for each.
  std::istringstream lines(said);
  std::string reason;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("Exception from ", 0) != 0) reason += line + " ";
  }
  api.free(said);
  reason = one_line(reason);
  return reason.empty() ? number : reason;
}

}  // namespace attn
