// A FAKE of NVIDIA's driver, libcuda.so.1, for the tests: its device memory is memory of the host, and its streams do their work when somebody
// waits for them, so that whoever forgets to wait, or frees too early, is found. It refuses what the driver refuses, and counts what
// is held.
#include "fake_driver.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <vector>

namespace {

constexpr int kSuccess = 0, kInvalidValue = 1, kNoMemory = 2, kInvalidContext = 201;
int the_context;

struct Driver {
  std::recursive_mutex mutex;
  std::map<char*, size_t> device, pinned;
  std::map<void*, std::deque<std::function<void()>>> streams;
  int current = 0, retained = 0, left = -1;
};

Driver& driver() {
  static auto* only = new Driver;
  return *only;
}

thread_local int depth = 0;

bool holds(const std::map<char*, size_t>& all, const void* memory, size_t bytes) {
  char* at = static_cast<char*>(const_cast<void*>(memory));
  auto block = all.upper_bound(at);
  if (block == all.begin()) return false;
  --block;
  return at + bytes <= block->first + block->second;
}

int allocate(std::map<char*, size_t>& all, void** memory, size_t bytes) {
  const std::lock_guard<std::recursive_mutex> only(driver().mutex);
  if (!depth) return kInvalidContext;
  if (driver().left == 0) return kNoMemory;
  if (driver().left > 0) --driver().left;
  *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  std::memset(*memory, 0xa5, bytes);  // never what somebody hopes for
  all[static_cast<char*>(*memory)] = bytes;
  return kSuccess;
}

int release(std::map<char*, size_t>& all, void* memory) {
  const std::lock_guard<std::recursive_mutex> only(driver().mutex);
  if (!depth) return kInvalidContext;
  if (!all.erase(static_cast<char*>(memory))) {
    std::fprintf(stderr, "fake driver: memory is freed that is not there\n");
    std::abort();
  }
  std::free(memory);
  return kSuccess;
}

}  // namespace

void fake_push(void* stream, std::function<void()> work) {
  const std::lock_guard<std::recursive_mutex> only(driver().mutex);
  driver().streams.at(stream).push_back(std::move(work));
}

void fake_finish(void* stream) {
  const std::lock_guard<std::recursive_mutex> only(driver().mutex);
  auto& queue = driver().streams.at(stream);
  for (; !queue.empty(); queue.pop_front()) queue.front()();
}

bool fake_on_device(const void* memory, size_t bytes) {
  const std::lock_guard<std::recursive_mutex> only(driver().mutex);
  return holds(driver().device, memory, bytes);
}

extern "C" {

int fake_driver_held(void) {
  const std::lock_guard<std::recursive_mutex> only(driver().mutex);
  return static_cast<int>(driver().device.size() + driver().pinned.size() + driver().streams.size()) + driver().current + driver().retained;
}
void fake_driver_memory(int count) { driver().left = count; }

int cuInit(unsigned) { return kSuccess; }
int cuDeviceGetCount(int* count) { return *count = 2, kSuccess; }
int cuDeviceGetName(char* name, int bytes, int number) { return std::snprintf(name, static_cast<size_t>(bytes), "Fake %d", number), kSuccess; }
int cuDeviceGet(int* device, int number) { return *device = number + 10, kSuccess; }
int cuDeviceGetPCIBusId(char* text, int bytes, int device) {
  return std::snprintf(text, static_cast<size_t>(bytes), "0000:%02d:00.0", device), kSuccess;
}
int cuDeviceGetAttribute(int* value, int attribute, int device) {
  if (device < 10 || (attribute != 75 && attribute != 76)) return kInvalidValue;
  *value = attribute == 75 ? 8 : 9 - (device - 10) * 9;  // 8.9 and 8.0
  return kSuccess;
}
int cuDevicePrimaryCtxRetain(void** context, int) { return ++driver().retained, *context = &the_context, kSuccess; }
int cuDevicePrimaryCtxRelease_v2(int) { return --driver().retained, kSuccess; }
int cuCtxPushCurrent_v2(void* context) {
  const std::lock_guard<std::recursive_mutex> only(driver().mutex);
  if (context != &the_context) return kInvalidContext;
  return ++depth, ++driver().current, kSuccess;
}
int cuCtxPopCurrent_v2(void** context) {
  const std::lock_guard<std::recursive_mutex> only(driver().mutex);
  return --depth, --driver().current, *context = &the_context, kSuccess;
}
int cuMemAlloc_v2(uint64_t* address, size_t bytes) {
  void* memory = nullptr;
  const int status = allocate(driver().device, &memory, bytes);
  *address = reinterpret_cast<uintptr_t>(memory);
  return status;
}
int cuMemFree_v2(uint64_t address) { return release(driver().device, reinterpret_cast<void*>(address)); }
int cuMemHostAlloc(void** memory, size_t bytes, unsigned) { return allocate(driver().pinned, memory, bytes); }
int cuMemFreeHost(void* memory) { return release(driver().pinned, memory); }
int cuStreamCreate(void** stream, unsigned flags) {
  const std::lock_guard<std::recursive_mutex> only(driver().mutex);
  if (!depth || flags != 1) return depth ? kInvalidValue : kInvalidContext;
  *stream = std::malloc(1);
  driver().streams[*stream];
  return kSuccess;
}
int cuStreamDestroy_v2(void* stream) {
  const std::lock_guard<std::recursive_mutex> only(driver().mutex);
  driver().streams.erase(stream);
  std::free(stream);
  return kSuccess;
}
int cuStreamSynchronize(void* stream) { return depth ? (fake_finish(stream), kSuccess) : kInvalidContext; }
int cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, void* stream) {
  const std::lock_guard<std::recursive_mutex> only(driver().mutex);
  void* target = reinterpret_cast<void*>(to);
  if (!depth) return kInvalidContext;
  if (!holds(driver().device, target, bytes) || !holds(driver().pinned, from, bytes)) return kInvalidValue;
  return fake_push(stream, [=] { std::memcpy(target, from, bytes); }), kSuccess;
}
int cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, void* stream) {
  const std::lock_guard<std::recursive_mutex> only(driver().mutex);
  const void* source = reinterpret_cast<const void*>(from);
  if (!depth) return kInvalidContext;
  if (!holds(driver().pinned, to, bytes) || !holds(driver().device, source, bytes)) return kInvalidValue;
  return fake_push(stream, [=] { std::memcpy(to, source, bytes); }), kSuccess;
}
int cuGetErrorName(int status, const char** name) {
  *name = status == kNoMemory ? "CUDA_ERROR_OUT_OF_MEMORY" : status == kInvalidContext ? "CUDA_ERROR_INVALID_CONTEXT" : "CUDA_ERROR_INVALID_VALUE";
  return kSuccess;
}
int cuGetErrorString(int status, const char** text) { return *text = status == kNoMemory ? "out of memory" : "invalid", kSuccess; }

}  // extern "C"
