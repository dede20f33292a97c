// ONNX Runtime's library, loaded while the program runs and never linked: a program linked with one version refuses all others.
#pragma once

#include <onnxruntime_c_api.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ort/error.h"

namespace attn {

// One loaded library with its environment. Stays loaded until the process ends: its threads may outlive everything of ours.
class OrtLibrary {
 public:
  // `path`, else $ATTN_ONNXRUNTIME, else what the loader finds, else beside this library. Raises backend_error.
  static const OrtLibrary& load(const std::optional<std::string>& path);

  const OrtApi* api;               // of `api_version`: what is younger than that must not be touched
  uint32_t api_version;            // the older one of the library's and the headers'
  std::string version;             // "1.31.1"
  std::filesystem::path path;      // of the file that was loaded
  OrtEnv* env;
  std::vector<std::string> providers;  // those that it was built with

  // What went wrong, if anything did; takes the status.
  std::optional<OrtFailure> failure(OrtStatus* status) const {
    if (!status) return std::nullopt;  // the way of every call that is all right
    return read(status);
  }
  // Raises backend_error unless all is well; takes the status.
  void check(OrtStatus* status) const;

 private:
  OrtLibrary() = default;
  OrtFailure read(OrtStatus* status) const;
  friend class OrtLibraries;
};

// The oldest that the runtime works with; the C interface only grows.
constexpr uint32_t kOldestOrtApi = 18;

// What one of ONNX Runtime's objects is held by: Held<OrtSession> session(raw, {&api->ReleaseSession}).
template <typename T>
struct OrtRelease {
  void(ORT_API_CALL* release)(T*) = nullptr;
  void operator()(T* object) const {
    if (object) release(object);
  }
};
template <typename T>
using OrtHeld = std::unique_ptr<T, OrtRelease<T>>;

template <typename T>
OrtHeld<T> held(T* object, void(ORT_API_CALL* release)(T*)) {
  return OrtHeld<T>(object, OrtRelease<T>{release});
}

}  // namespace attn
