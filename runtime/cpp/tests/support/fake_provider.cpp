// A plugin provider of ONNX Runtime that takes no node. It writes what it was told to the file that its option "record" names.
#include <onnxruntime_c_api.h>

#if ORT_API_VERSION >= 22
#include <cstdio>
#include <cstring>
#include <string>

namespace {

constexpr char kName[] = "FakeProvider";
const OrtApi* api = nullptr;

// Fixed lives: ONNX Runtime asks for one of each, and the tests open one session at a time.
struct Provider : OrtEp {
  Provider() : OrtEp{} {
    ort_version_supported = ORT_API_VERSION;
    GetName = [](const OrtEp*) noexcept { return kName; };
    GetCapability = [](OrtEp*, const OrtGraph*, OrtEpGraphSupportInfo*) noexcept -> OrtStatus* { return nullptr; };
  }
} provider;

std::string told(const OrtSessionOptions* options, const char* key) {
  char value[500];
  size_t size = sizeof value;
  if (OrtStatus* status = api->GetSessionConfigEntry(options, ("ep.fakeprovider." + std::string(key)).c_str(), value, &size)) {
    api->ReleaseStatus(status);
    return "";
  }
  return value;
}

struct Factory : OrtEpFactory {
  Factory() : OrtEpFactory{} {
    ort_version_supported = ORT_API_VERSION;
    GetName = [](const OrtEpFactory*) noexcept { return kName; };
    GetVendor = [](const OrtEpFactory*) noexcept { return "nobody"; };
    GetSupportedDevices = [](OrtEpFactory* self, const OrtHardwareDevice* const* devices, size_t count, OrtEpDevice** found, size_t most,
                             size_t* found_count) noexcept -> OrtStatus* {
      *found_count = 0;
      if (count == 0 || most == 0) return nullptr;
      OrtStatus* status = api->GetEpApi()->CreateEpDevice(self, devices[0], nullptr, nullptr, &found[0]);
      if (!status) *found_count = 1;
      return status;
    };
    CreateEp = [](OrtEpFactory*, const OrtHardwareDevice* const*, const OrtKeyValuePairs* const*, size_t, const OrtSessionOptions* options,
                  const OrtLogger*, OrtEp** made) noexcept -> OrtStatus* {
      if (std::FILE* record = std::fopen(told(options, "record").c_str(), "w")) {
        std::fprintf(record, "shapes=%s\n", told(options, "shapes").c_str());
        std::fclose(record);
      }
      *made = &provider;
      return nullptr;
    };
    ReleaseEp = [](OrtEpFactory*, OrtEp*) noexcept {};
    GetVendorId = [](const OrtEpFactory*) noexcept { return uint32_t{0}; };
    GetVersion = [](const OrtEpFactory*) noexcept { return "1.0.0"; };
    CreateAllocator = [](OrtEpFactory*, const OrtMemoryInfo*, const OrtKeyValuePairs*, OrtAllocator** made) noexcept -> OrtStatus* {
      *made = nullptr;
      return nullptr;
    };
    ReleaseAllocator = [](OrtEpFactory*, OrtAllocator*) noexcept {};
    CreateDataTransfer = [](OrtEpFactory*, OrtDataTransferImpl** made) noexcept -> OrtStatus* {
      *made = nullptr;
      return nullptr;
    };
    IsStreamAware = [](const OrtEpFactory*) noexcept { return false; };
  }
} factory;

}  // namespace

extern "C" {

__attribute__((visibility("default"))) OrtStatus* CreateEpFactories(const char*, const OrtApiBase* base, const OrtLogger*,
                                                                     OrtEpFactory** factories, size_t, size_t* count) {
  api = base->GetApi(ORT_API_VERSION);
  if (!api) return nullptr;
  factories[0] = &factory;
  *count = 1;
  return nullptr;
}

__attribute__((visibility("default"))) OrtStatus* ReleaseEpFactory(OrtEpFactory*) { return nullptr; }

}  // extern "C"
#endif
