// Tensors in host memory: owned ones, and views of somebody's memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "util/spec.h"

namespace attn {

// Zeroed memory at 64 bytes.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t bytes);
  void* data() const { return data_.get(); }
  size_t bytes() const { return bytes_; }

 private:
  struct Free {
    void operator()(void* data) const;
  };
  std::unique_ptr<void, Free> data_;
  size_t bytes_ = 0;
};

// Somebody else's memory, C-contiguous.
struct View {
  attn_dtype dtype = ATTN_FLOAT32;
  Shape shape;
  void* data = nullptr;

  size_t bytes() const { return bytes_of(dtype, shape); }
  template <typename T>
  T* as() const {
    return static_cast<T*>(data);
  }
};

struct Tensor {
  std::string name;
  attn_dtype dtype = ATTN_FLOAT32;
  Shape shape;
  Buffer buffer;

  Tensor() = default;
  Tensor(std::string name, attn_dtype dtype, Shape shape);  // zeros
  View view() const { return {dtype, shape, buffer.data()}; }
};

using Tensors = std::map<std::string, Tensor>;

std::map<std::string, View> views_of(const Tensors& tensors);

}  // namespace attn
