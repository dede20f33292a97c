#include "trt/gpu.h"

#include <dlfcn.h>

#include <algorithm>
#include <string>

#include "util/error.h"

namespace attn {

// CUresult is an int, CUdevice too, CUdeviceptr an address in 64 bits; contexts and streams are pointers.
struct GpuCalls {
  int (*init)(unsigned);
  int (*device)(int*, int);
  int (*retain)(void**, int);
  int (*release)(int);
  int (*push)(void*);
  int (*pop)(void**);
  int (*allocate)(uint64_t*, size_t);
  int (*free)(uint64_t);
  int (*allocate_pinned)(void**, size_t, unsigned);
  int (*free_pinned)(void*);
  int (*create_stream)(void**, unsigned);
  int (*destroy_stream)(void*);
  int (*synchronize)(void*);
  int (*copy_in)(uint64_t, const void*, size_t, void*);
  int (*copy_out)(void*, uint64_t, size_t, void*);
  int (*error_name)(int, const char**);
  int (*error_text)(int, const char**);
};

namespace {

constexpr unsigned kNonBlocking = 1;     // a stream that does not wait for the default one
constexpr size_t kLeast = 256;           // bytes: TensorRT takes no null for a tensor without elements
constexpr size_t kMost = SIZE_MAX / 2;

const GpuCalls& calls() {
  static const GpuCalls found = [] {
    void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!driver) throw backend_error("no NVIDIA driver on this machine: libcuda.so.1 is not found");
    GpuCalls all{};
    const auto take = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(driver, name));
      if (!function) throw backend_error("libcuda.so.1 is not the NVIDIA driver's, or too old: it lacks " + std::string(name));
    };
    // The names that cuda.h maps them to: _v2 where sizes became 64 bits wide.
    take(all.init, "cuInit"), take(all.device, "cuDeviceGet");
    take(all.retain, "cuDevicePrimaryCtxRetain"), take(all.release, "cuDevicePrimaryCtxRelease_v2");
    take(all.push, "cuCtxPushCurrent_v2"), take(all.pop, "cuCtxPopCurrent_v2");
    take(all.allocate, "cuMemAlloc_v2"), take(all.free, "cuMemFree_v2");
    take(all.allocate_pinned, "cuMemHostAlloc"), take(all.free_pinned, "cuMemFreeHost");
    take(all.create_stream, "cuStreamCreate"), take(all.destroy_stream, "cuStreamDestroy_v2");
    take(all.synchronize, "cuStreamSynchronize");
    take(all.copy_in, "cuMemcpyHtoDAsync_v2"), take(all.copy_out, "cuMemcpyDtoHAsync_v2");
    take(all.error_name, "cuGetErrorName"), take(all.error_text, "cuGetErrorString");
    return all;
  }();
  return found;
}

void check_status(const GpuCalls& of, int status, const char* call, int number) {
  if (status == 0) return;
  const char *name = nullptr, *told = nullptr;
  of.error_name(status, &name);
  of.error_text(status, &told);
  throw backend_error("cuda:" + std::to_string(number) + ": " + call + " answers " + (name ? name : std::to_string(status)) + " (" +
                      (told ? told : "the driver does not say why") + ")");
}

}  // namespace

std::shared_ptr<Gpu> Gpu::open(int number) {
  const GpuCalls& driver = calls();
  int device = 0;
  void* context = nullptr;
  check_status(driver, driver.init(0), "cuInit", number);
  check_status(driver, driver.device(&device, number), "cuDeviceGet", number);
  check_status(driver, driver.retain(&context, device), "cuDevicePrimaryCtxRetain", number);
  return std::shared_ptr<Gpu>(new Gpu(driver, number, device, context));
}

Gpu::Gpu(const GpuCalls& calls, int number, int device, void* context)
    : calls_(calls), number_(number), device_(device), context_(context) {}

Gpu::~Gpu() { calls_.release(device_); }

void Gpu::check(int status, const char* call) const { check_status(calls_, status, call, number_); }

Gpu::Current::Current(const Gpu& gpu) : gpu_(gpu) { gpu.check(gpu.calls_.push(gpu.context_), "cuCtxPushCurrent"); }

Gpu::Current::~Current() {
  void* ours = nullptr;
  gpu_.calls_.pop(&ours);
}

void* Gpu::allocate(size_t bytes) {
  uint64_t address = 0;
  check(calls_.allocate(&address, std::max(bytes, kLeast)), "cuMemAlloc");
  return reinterpret_cast<void*>(static_cast<uintptr_t>(address));
}

void Gpu::free(void* memory) noexcept { calls_.free(reinterpret_cast<uintptr_t>(memory)); }

void* Gpu::allocate_pinned(size_t bytes) {
  void* memory = nullptr;
  check(calls_.allocate_pinned(&memory, std::max(bytes, kLeast), 0), "cuMemHostAlloc");
  return memory;
}

void Gpu::free_pinned(void* memory) noexcept { calls_.free_pinned(memory); }

void* Gpu::create_stream() {
  void* stream = nullptr;
  check(calls_.create_stream(&stream, kNonBlocking), "cuStreamCreate");
  return stream;
}

void Gpu::destroy_stream(void* stream) noexcept { calls_.destroy_stream(stream); }
void Gpu::synchronize(void* stream) { check(calls_.synchronize(stream), "cuStreamSynchronize"); }

void Gpu::copy_in(void* device, const void* host, size_t bytes, void* stream) {
  if (bytes) check(calls_.copy_in(reinterpret_cast<uintptr_t>(device), host, bytes, stream), "cuMemcpyHtoDAsync");
}

void Gpu::copy_out(void* host, const void* device, size_t bytes, void* stream) {
  if (bytes) check(calls_.copy_out(host, reinterpret_cast<uintptr_t>(device), bytes, stream), "cuMemcpyDtoHAsync");
}

void* GpuBuffer::at_least(size_t bytes) {
  if (data_ && bytes <= bytes_) return data_;
  if (bytes > kMost) throw backend_error("a tensor of " + std::to_string(bytes) + " bytes does not fit in memory");
  clear();
  data_ = kind_ == Kind::device ? gpu_.allocate(bytes) : gpu_.allocate_pinned(bytes);
  bytes_ = bytes;
  return data_;
}

void GpuBuffer::clear() noexcept {
  if (data_) kind_ == Kind::device ? gpu_.free(data_) : gpu_.free_pinned(data_);
  data_ = nullptr, bytes_ = 0;
}

}  // namespace attn
