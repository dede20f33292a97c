// Memory and streams of one NVIDIA GPU, by the driver's own interface: libcuda is there wherever a GPU is, and no CUDA toolkit is needed. It
// works in the device's primary context, the one that TensorRT and the CUDA runtime use. The Python twin is attn_runtime/device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace attn {

struct GpuCalls;  // the driver's functions

// Ask why_no_gpu first. Every call but `open` is made while a `Current` lives in the same thread. Raises backend_error.
class Gpu {
 public:
  static std::shared_ptr<Gpu> open(int number);
  ~Gpu();
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  // Makes the GPU the calling thread's, and what was the thread's before its own again.
  class Current {
   public:
    explicit Current(const Gpu& gpu);
    ~Current();
    Current(const Current&) = delete;
    Current& operator=(const Current&) = delete;

   private:
    const Gpu& gpu_;
  };

  void* allocate(size_t bytes);  // at a multiple of 256; never null
  void free(void* memory) noexcept;
  void* allocate_pinned(size_t bytes);  // page-locked memory of the host, which copies need to run by themselves
  void free_pinned(void* memory) noexcept;
  void* create_stream();
  void destroy_stream(void* stream) noexcept;
  void synchronize(void* stream);
  void copy_in(void* device, const void* host, size_t bytes, void* stream);
  void copy_out(void* host, const void* device, size_t bytes, void* stream);

 private:
  Gpu(const GpuCalls& calls, int number, int device, void* context);
  void check(int status, const char* call) const;

  const GpuCalls& calls_;
  int number_;
  int device_;
  void* context_;
};

// Memory that grows to what is asked of it; what it held is lost then. Freed while the GPU is current.
class GpuBuffer {
 public:
  enum class Kind { device, pinned };
  GpuBuffer(Gpu& gpu, Kind kind) : gpu_(gpu), kind_(kind) {}
  ~GpuBuffer() { clear(); }
  GpuBuffer(GpuBuffer&& other) noexcept : gpu_(other.gpu_), kind_(other.kind_), data_(other.data_), bytes_(other.bytes_) {
    other.data_ = nullptr, other.bytes_ = 0;
  }
  GpuBuffer& operator=(GpuBuffer&&) = delete;

  void* at_least(size_t bytes);
  void* data() const { return data_; }

 private:
  void clear() noexcept;

  Gpu& gpu_;
  Kind kind_;
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace attn
