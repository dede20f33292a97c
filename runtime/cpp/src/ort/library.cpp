#include "ort/library.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>

#include "ort/error.h"
#include "util/forks.h"
#include "util/loader.h"

namespace attn {
namespace {

const char kName[] = "libonnxruntime.so.1";
const char kAdvice[] = "install ONNX Runtime 1.18 or newer, or name its library in ATTN_ONNXRUNTIME";

// The version of the interface: "1.31.1" -> 31; 0 where it can't be read. What a 2.0 will have is its own to say: it is asked for ours.
uint32_t minor_of(const std::string& version) {
  if (version.rfind("1.", 0) != 0) return std::strtoul(version.c_str(), nullptr, 10) > 1 ? ORT_API_VERSION : 0;
  return static_cast<uint32_t>(std::strtoul(version.c_str() + 2, nullptr, 10));
}

}  // namespace

// Libraries by the name they were asked for; one file that two names lead to is one library.
class OrtLibraries {
 public:
  const OrtLibrary& load(const std::optional<std::string>& path) {
    const std::lock_guard<ForkMutex> only(mutex_);
    // From 1.29 on, it tells Microsoft what it runs, by a thread that starts when it is loaded. A child of a fork waits for that thread when it
    // ends, for ever. Who sets the variable has the last word.
    ::setenv("ORT_DISABLE_TELEMETRY", "1", 0);
    if (path && !path->empty()) return named(*path);
    if (const char* given = std::getenv("ATTN_ONNXRUNTIME"); given && *given) return named(given);
    if (void* handle = dlopen(kName, RTLD_NOW | RTLD_LOCAL)) return add(kName, handle);
    const std::string reason = said_by_loader();
    const std::filesystem::path beside = own_folder() / kName;
    std::error_code ignored;
    if (std::filesystem::exists(beside, ignored)) return named(beside.string());
    throw backend_error("ONNX Runtime does not load (" + reason + "); " + kAdvice);
  }

 private:
  const OrtLibrary& named(const std::string& name) {
    if (const auto found = by_name_.find(name); found != by_name_.end()) return *found->second;
    void* handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle) throw backend_error("ONNX Runtime does not load (" + said_by_loader() + "); " + kAdvice);
    return add(name, handle);
  }

  const OrtLibrary& add(const std::string& name, void* handle) {
    if (const auto found = by_handle_.find(handle); found != by_handle_.end()) {
      dlclose(handle);  // counted twice
      by_name_[name] = found->second.get();
      return *found->second;
    }
    std::unique_ptr<OrtLibrary> opened = open(name, handle);
    OrtLibrary& library = *opened;
    by_handle_[handle] = std::move(opened);
    by_name_[name] = &library;
    return library;
  }

  static std::unique_ptr<OrtLibrary> open(const std::string& name, void* handle) {
    const auto base_of = reinterpret_cast<const OrtApiBase*(ORT_API_CALL*)()>(dlsym(handle, "OrtGetApiBase"));
    if (!base_of) {
      dlclose(handle);
      throw backend_error(name + " is no library of ONNX Runtime: it has no OrtGetApiBase; " + kAdvice);
    }
    std::unique_ptr<OrtLibrary> library(new OrtLibrary);
    const OrtApiBase* base = base_of();
    library->version = base->GetVersionString();
    library->path = file_of(reinterpret_cast<const void*>(base_of));
    const uint32_t theirs = minor_of(library->version);
    if (theirs < kOldestOrtApi) {
      throw backend_error("ONNX Runtime " + library->version + " (" + library->path.string() + ") is too old, expected 1.18 or newer");
    }
    library->api_version = std::min<uint32_t>(ORT_API_VERSION, theirs);
    library->api = base->GetApi(library->api_version);
    if (!library->api) {
      throw backend_error("ONNX Runtime " + library->version + " (" + library->path.string() + ") refuses the interface of version " +
                          std::to_string(library->api_version) + "; " + kAdvice);
    }
    // Errors come as statuses; what the library prints as well would be chatter.
    library->check(library->api->CreateEnv(ORT_LOGGING_LEVEL_FATAL, "attn_runtime", &library->env));
    char** names = nullptr;
    int count = 0;
    library->check(library->api->GetAvailableProviders(&names, &count));
    library->providers.assign(names, names + count);
    if (OrtStatus* status = library->api->ReleaseAvailableProviders(names, count)) library->api->ReleaseStatus(status);
    return library;
  }

  ForkMutex mutex_;
  std::map<void*, std::unique_ptr<OrtLibrary>> by_handle_;
  std::map<std::string, const OrtLibrary*> by_name_;
};

const OrtLibrary& OrtLibrary::load(const std::optional<std::string>& path) {
  // Never destroyed: a thread of ONNX Runtime's may still be at work when the process ends.
  static auto* libraries = new OrtLibraries;
  return libraries->load(path);
}

void OrtLibrary::check(OrtStatus* status) const {
  if (!status) return;
  throw backend_error("ONNX Runtime " + version + ": " + read(status).line());
}

OrtFailure OrtLibrary::read(OrtStatus* status) const {
  OrtFailure found{api->GetErrorCode(status), api->GetErrorMessage(status)};
  api->ReleaseStatus(status);
  return found;
}

}  // namespace attn
