// Plugin providers, which ONNX Runtime has had since 1.22. Older headers compile to the sentence that says so.
#include <map>
#include <mutex>

#include "ort/providers.h"
#include "util/forks.h"

namespace attn {

#if ORT_API_VERSION >= 22

namespace {

constexpr uint32_t kPluginApi = 22;

// ONNX Runtime refuses a second registration under the same name.
std::optional<std::string> register_once(const OrtLibrary& library, const Plugin& plugin) {
  static auto& mutex = *new ForkMutex;
  static std::map<std::pair<const OrtLibrary*, std::string>, std::optional<std::string>> known;
  const std::lock_guard<ForkMutex> only(mutex);
  const auto key = std::make_pair(&library, plugin.provider);
  if (const auto found = known.find(key); found != known.end()) return found->second;
  std::optional<std::string>& answer = known[key];
  const auto failure =
      library.failure(library.api->RegisterExecutionProviderLibrary(library.env, plugin.provider.c_str(), plugin.library.c_str()));
  if (failure) answer = "the plugin " + plugin.library + " does not register (" + failure->line() + ")";
  return answer;
}

std::string address_of(const OrtApi& api, const OrtEpDevice& device) {
  const char* found = api.GetKeyValue(api.HardwareDevice_Metadata(api.EpDevice_Device(&device)), "pci_bus_id");
  return found ? found : "";
}

}  // namespace

std::optional<std::string> register_plugin(const OrtLibrary& library, const Plugin& plugin) {
  if (library.api_version < kPluginApi) {
    return "ONNX Runtime " + library.version + " is too old for plugin providers, expected 1.22 or newer";
  }
  return register_once(library, plugin);
}

void append_plugin(const OrtLibrary& library, OrtSessionOptions& session, const Plugin& plugin, const std::string& address,
                   const ProviderOptions& options) {
  if (const auto problem = register_plugin(library, plugin)) throw backend_error(*problem);
  const OrtApi& api = *library.api;
  const OrtEpDevice* const* devices = nullptr;
  size_t count = 0;
  library.check(api.GetEpDevices(library.env, &devices, &count));
  const OrtEpDevice* taken = nullptr;
  size_t offered = 0;
  for (size_t i = 0; i < count; ++i) {
    if (plugin.provider != api.EpDevice_EpName(devices[i])) continue;
    ++offered;
    if (!taken && (address.empty() || address == address_of(api, *devices[i]))) taken = devices[i];
  }
  if (!taken) {
    throw backend_error("the plugin " + plugin.library + " offers " + std::to_string(offered) +
                        " devices, and the one that was asked for is none of them");
  }
  std::vector<const char*> keys, values;
  for (const auto& [key, value] : options) keys.push_back(key.c_str()), values.push_back(value.c_str());
  library.check(api.SessionOptionsAppendExecutionProvider_V2(&session, library.env, &taken, 1, keys.data(), values.data(), keys.size()));
}

#else

std::optional<std::string> register_plugin(const OrtLibrary&, const Plugin&) {
  return "this build has headers of ONNX Runtime that do not know plugin providers; build it with those of 1.22 or newer";
}

void append_plugin(const OrtLibrary& library, OrtSessionOptions&, const Plugin& plugin, const std::string&, const ProviderOptions&) {
  throw backend_error(*register_plugin(library, plugin));
}

#endif

}  // namespace attn
