// A stream, and what runs on it: execution contexts, memory on both sides. The Python twin is attn_runtime/trt/run/stream.py.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "trt/engine.h"
#include "trt/gpu.h"

namespace attn {

// Runs one call after another. Belongs to one thread at a time. Every call waits for its own work, so buffers may grow and the caller's may go
// when it returns. A call whose shapes are those of the last one allocates nothing.
class TrtStream {
 public:
  explicit TrtStream(std::shared_ptr<const TrtOpened> opened);
  ~TrtStream();
  TrtStream(const TrtStream&) = delete;
  TrtStream& operator=(const TrtStream&) = delete;

  // The answers lie in memory of the stream until the next call. Raises input_error for shapes that no profile covers.
  void run(const std::vector<View>& inputs);
  const Shape& shape(size_t output) const { return outputs_[output].shape; }
  const void* data(size_t output) const { return outputs_[output].host.data(); }

 private:
  struct Context;
  struct Side {
    Side(Gpu& gpu, const TrtTensor& tensor)
        : tensor(tensor), host(gpu, GpuBuffer::Kind::pinned), device(gpu, GpuBuffer::Kind::device) {}
    const TrtTensor& tensor;
    GpuBuffer host, device;
    Shape shape;        // of an input: of the last call; of an output: of its answer
    size_t bytes = 0;   // of that shape
    bool grows = false;  // an output whose shape follows from values
  };

  bool stage(const std::vector<View>& inputs);  // whether shapes, or values that decide on shapes, are others than in the last call
  Context& context_for(const std::vector<View>& inputs);
  void prepare(Context& context);
  void address(Context& context, const TrtTensor& tensor, void* memory);
  void execute(Context& context);
  static void* grow(void* side, uint64_t bytes);

  std::shared_ptr<const TrtOpened> opened_;
  Gpu& gpu_;
  std::vector<Side> inputs_, outputs_;
  std::unique_ptr<GpuBuffer> scratch_;
  void* stream_ = nullptr;
  std::map<size_t, std::unique_ptr<Context>> contexts_;  // by profile
  Context* last_ = nullptr;                              // whose shapes are set to those of the inputs
};

}  // namespace attn
