#include "trt/library.h"

#include <dlfcn.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "util/error.h"
#include "util/forks.h"
#include "util/loader.h"

namespace attn {
namespace {

const char kName[] = "libattn_runtime_trt.so";
const char kAdvice[] = "build it where TensorRT's headers are (cmake -DATTN_TRT=ON -DNVINFER_ROOT=FOLDER), or name it in ATTN_TRT_PLUGIN";

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// The plugin beside this library, where there is one.
std::string beside() {
  const std::filesystem::path plugin = own_folder() / kName;
  std::error_code ignored;
  return std::filesystem::exists(plugin, ignored) ? plugin.string() : "";
}

const attn_trt_plugin* open_plugin(std::string name) {
  if (name.empty()) name = beside();
  if (name.empty()) name = kName;
  void* handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) throw backend_error("the plugin for TensorRT does not load (" + said_by_loader() + "); " + kAdvice);
  const auto table = reinterpret_cast<const attn_trt_plugin* (*)()>(dlsym(handle, ATTN_TRT_PLUGIN_SYMBOL));
  if (!table) throw backend_error(name + " is no plugin for TensorRT: it has no " ATTN_TRT_PLUGIN_SYMBOL "; " + kAdvice);
  const attn_trt_plugin* plugin = table();
  if (plugin->abi != ATTN_TRT_PLUGIN_ABI) {
    throw backend_error(name + " is a plugin of interface " + std::to_string(plugin->abi) + ", this attn_runtime knows " +
                        std::to_string(ATTN_TRT_PLUGIN_ABI) + "; build both from one version");
  }
  return plugin;
}

std::unique_ptr<TrtLibrary> open(const std::string& plugin_name, const std::string& library_name) {
  auto found = std::make_unique<TrtLibrary>();
  found->plugin = open_plugin(plugin_name);
  found->flavour = found->plugin->flavour;
  std::array<int32_t, 4> version{};
  std::array<char, ATTN_TRT_WHY> why{};
  if (found->plugin->open(library_name.empty() ? nullptr : library_name.c_str(), &found->library, version.data(), why.data()) != 0) {
    throw backend_error(why.data());
  }
  for (size_t i = 0; i < version.size() && version[i] >= 0; ++i) found->version += (i ? "." : "") + std::to_string(version[i]);
  return found;
}

}  // namespace

const TrtLibrary& TrtLibrary::load() {
  static auto& mutex = *new ForkMutex;
  // Never destroyed, as little as what it loads.
  static auto* opened = new std::map<std::pair<std::string, std::string>, std::unique_ptr<TrtLibrary>>;
  const std::pair names{environment("ATTN_TRT_PLUGIN"), environment("ATTN_TENSORRT")};
  const std::lock_guard<ForkMutex> only(mutex);
  auto found = opened->find(names);
  if (found == opened->end()) found = opened->emplace(names, open(names.first, names.second)).first;
  return *found->second;
}

}  // namespace attn
