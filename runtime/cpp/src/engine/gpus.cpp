#include "engine/gpus.h"

#include <dlfcn.h>

#include <array>
#include <cstdlib>
#include <vector>

namespace attn {
namespace {

struct Gpus {
  std::vector<std::string> names;
  std::vector<std::string> addresses;
  std::vector<std::string> capabilities;
  std::string problem;  // why there are none
};

template <typename Function>
Function symbol(void* driver, const char* name) {
  return reinterpret_cast<Function>(dlsym(driver, name));
}

// CUdevice_attribute: COMPUTE_CAPABILITY_MAJOR and _MINOR.
constexpr int kCapability[] = {75, 76};

Gpus look() {
  Gpus found;
  void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!driver) {
    found.problem = "no NVIDIA driver on this machine: libcuda.so.1 is not found";
    return found;
  }
  const auto init = symbol<int (*)(unsigned)>(driver, "cuInit");
  const auto count_of = symbol<int (*)(int*)>(driver, "cuDeviceGetCount");
  const auto name_of = symbol<int (*)(char*, int, int)>(driver, "cuDeviceGetName");
  const auto get = symbol<int (*)(int*, int)>(driver, "cuDeviceGet");
  const auto attribute_of = symbol<int (*)(int*, int, int)>(driver, "cuDeviceGetAttribute");
  const auto address_of = symbol<int (*)(char*, int, int)>(driver, "cuDeviceGetPCIBusId");
  if (!init || !count_of || !name_of || !get || !address_of) {
    found.problem = "libcuda.so.1 is not the NVIDIA driver's: it lacks cuInit or cuDeviceGet";
    return found;
  }
  if (const int status = init(0)) {
    found.problem = "the NVIDIA driver finds no usable GPU (cuInit answers " + std::to_string(status) + ")";
    return found;
  }
  int count = 0;
  if (count_of(&count) != 0 || count <= 0) {
    found.problem = "the NVIDIA driver shows no GPU; is CUDA_VISIBLE_DEVICES set to none?";
    return found;
  }
  for (int number = 0; number < count; ++number) {
    std::array<char, 256> text{};
    found.names.emplace_back(name_of(text.data(), static_cast<int>(text.size()), number) == 0 ? text.data() : "unnamed GPU");
    int device = 0;
    text = {};
    const bool told = get(&device, number) == 0 && address_of(text.data(), static_cast<int>(text.size()), device) == 0;
    found.addresses.emplace_back(told ? text.data() : "");
    int major = 0, minor = 0;
    const bool known = attribute_of && attribute_of(&major, kCapability[0], device) == 0 && attribute_of(&minor, kCapability[1], device) == 0;
    found.capabilities.push_back(known ? std::to_string(major) + "." + std::to_string(minor) : "");
  }
  return found;
}

const Gpus& gpus() {
  static const Gpus found = look();
  return found;
}

}  // namespace

std::optional<std::string> why_no_gpu(const std::string& device) {
  if (!gpus().problem.empty()) return gpus().problem;
  const auto number = static_cast<size_t>(gpu_number(device));
  if (number < gpus().names.size()) return std::nullopt;
  std::string here;
  for (size_t i = 0; i < gpus().names.size(); ++i) {
    here += (i ? ", " : "") + std::to_string(i) + " (" + gpus().names[i] + ")";
  }
  return "there is no GPU " + std::to_string(number) + "; this machine has " + here;
}

int gpu_number(const std::string& device) {
  const size_t colon = device.find(':');
  return colon == std::string::npos ? 0 : std::atoi(device.c_str() + colon + 1);
}

std::string gpu_bus_address(int number) {
  const auto place = static_cast<size_t>(number);
  return place < gpus().addresses.size() ? gpus().addresses[place] : "";
}

std::string gpu_compute_capability(int number) {
  const auto place = static_cast<size_t>(number);
  return place < gpus().capabilities.size() ? gpus().capabilities[place] : "";
}

}  // namespace attn
