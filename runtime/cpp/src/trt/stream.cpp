#include "trt/stream.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "util/error.h"

namespace attn {

struct TrtStream::Context {
  Context(const TrtOpened& opened, size_t profile, void* stream, void* scratch)
      : opened(opened), handle(opened.open_context(profile, stream, scratch)) {}
  ~Context() { opened.plugin.close_context(handle); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  const TrtOpened& opened;
  attn_trt_context* handle;
  std::map<int32_t, void*> addresses;  // as they are set
  std::map<int32_t, bool> growing;
};

TrtStream::TrtStream(std::shared_ptr<const TrtOpened> opened) : opened_(std::move(opened)), gpu_(*opened_->gpu) {
  const Gpu::Current current(gpu_);
  for (const TrtTensor& tensor : opened_->inputs) inputs_.emplace_back(gpu_, tensor);
  for (const TrtTensor& tensor : opened_->outputs) outputs_.emplace_back(gpu_, tensor);
  scratch_ = std::make_unique<GpuBuffer>(gpu_, GpuBuffer::Kind::device);
  try {
    scratch_->at_least(opened_->scratch_bytes);
    stream_ = gpu_.create_stream();
  } catch (...) {
    scratch_.reset();  // while the GPU is current
    throw;
  }
}

TrtStream::~TrtStream() {
  try {
    const Gpu::Current current(gpu_);
    contexts_.clear();
    inputs_.clear(), outputs_.clear(), scratch_.reset();
    gpu_.destroy_stream(stream_);
  } catch (const Error&) {  // the driver is gone, and all memory with it
  }
}

void TrtStream::run(const std::vector<View>& inputs) {
  const Gpu::Current current(gpu_);
  // Refused before anything is put on the stream.
  Context& context = context_for(inputs);
  const bool changed = stage(inputs) || last_ != &context;
  try {
    if (changed) prepare(context);
    execute(context);
    gpu_.synchronize(stream_);
  } catch (...) {
    last_ = nullptr;  // the next call begins anew
    try {
      gpu_.synchronize(stream_);  // what is under way uses our memory
    } catch (const Error&) {
    }
    throw;
  }
}

TrtStream::Context& TrtStream::context_for(const std::vector<View>& inputs) {
  const auto same = [](const Side& side, const View& view) { return side.shape == view.shape; };
  if (last_ && std::equal(inputs_.begin(), inputs_.end(), inputs.begin(), same)) return *last_;
  std::vector<Shape> shapes;
  for (const View& view : inputs) shapes.push_back(view.shape);
  const size_t profile = opened_->profile_for(shapes);
  auto& context = contexts_[profile];
  if (!context) context = std::make_unique<Context>(*opened_, profile, stream_, scratch_->data());
  return *context;
}

bool TrtStream::stage(const std::vector<View>& inputs) {
  bool changed = false;
  for (size_t i = 0; i < inputs.size(); ++i) {
    Side& side = inputs_[i];
    const bool placed = side.host.data() && (side.tensor.on_host || side.device.data());
    if (side.shape != inputs[i].shape || !placed) {
      changed = true, last_ = nullptr;  // should anything fail now, the next call begins anew
      side.bytes = inputs[i].bytes();
      side.host.at_least(side.bytes);
      if (!side.tensor.on_host) side.device.at_least(side.bytes);
      side.shape = inputs[i].shape;
    }
    if (side.bytes == 0) continue;
    changed = changed || (side.tensor.on_host && std::memcmp(side.host.data(), inputs[i].data, side.bytes) != 0);
    std::memcpy(side.host.data(), inputs[i].data, side.bytes);
  }
  return changed;
}

void TrtStream::prepare(Context& context) {
  const attn_trt_plugin& plugin = opened_->plugin;
  std::array<char, ATTN_TRT_WHY> why{};
  last_ = nullptr;
  for (Side& side : inputs_) {
    attn_trt_shape shape{static_cast<int32_t>(side.shape.size()), {}};
    std::copy(side.shape.begin(), side.shape.end(), shape.sizes);
    opened_->check(plugin.set_shape(context.handle, side.tensor.number, &shape, why.data()), why.data());
    address(context, side.tensor, side.tensor.on_host ? side.host.data() : side.device.data());
  }
  opened_->check(plugin.infer(context.handle, why.data()), why.data());
  for (Side& side : outputs_) {
    attn_trt_shape told{};
    opened_->check(plugin.shape(context.handle, side.tensor.number, &told, why.data()), why.data());
    side.shape.assign(told.sizes, told.sizes + told.rank);
    side.grows = std::find(side.shape.begin(), side.shape.end(), -1) != side.shape.end();
    if (side.grows) {
      if (!context.growing[side.tensor.number]) {
        opened_->check(plugin.set_growing(context.handle, side.tensor.number, grow, &side, why.data()), why.data());
        context.growing[side.tensor.number] = true;
      }
      continue;
    }
    side.bytes = bytes_of(side.tensor.dtype, side.shape);
    side.host.at_least(side.bytes);
    if (!side.tensor.on_host) side.device.at_least(side.bytes);
    address(context, side.tensor, side.tensor.on_host ? side.host.data() : side.device.data());
  }
  last_ = &context;
}

void TrtStream::address(Context& context, const TrtTensor& tensor, void* memory) {
  void*& set = context.addresses[tensor.number];
  if (set == memory) return;
  std::array<char, ATTN_TRT_WHY> why{};
  opened_->check(opened_->plugin.set_address(context.handle, tensor.number, memory, why.data()), why.data());
  set = memory;
}

void TrtStream::execute(Context& context) {
  const attn_trt_plugin& plugin = opened_->plugin;
  std::array<char, ATTN_TRT_WHY> why{};
  for (const Side& side : inputs_) {
    if (!side.tensor.on_host) gpu_.copy_in(side.device.data(), side.host.data(), side.bytes, stream_);
  }
  opened_->check(plugin.enqueue(context.handle, stream_, why.data()), why.data());
  for (Side& side : outputs_) {
    if (side.grows) {
      attn_trt_shape told{};
      opened_->check(plugin.grown_shape(context.handle, side.tensor.number, &told, why.data()), why.data());
      side.shape.assign(told.sizes, told.sizes + told.rank);
      side.bytes = bytes_of(side.tensor.dtype, side.shape);
      side.host.at_least(side.bytes);
    }
    if (!side.tensor.on_host) gpu_.copy_out(side.host.data(), side.device.data(), side.bytes, stream_);
  }
}

// Called by TensorRT, inside of enqueue: nothing may be raised through it.
void* TrtStream::grow(void* side, uint64_t bytes) {
  try {
    return static_cast<Side*>(side)->device.at_least(bytes);
  } catch (const Error&) {
    return nullptr;
  }
}

}  // namespace attn
