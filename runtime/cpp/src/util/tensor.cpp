#include "util/tensor.h"

#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace attn {
namespace {

constexpr size_t alignment = 64;  // a cache line, and the widest vector registers

}  // namespace

Buffer::Buffer(size_t bytes) : bytes_(bytes) {
  if (bytes > PTRDIFF_MAX) throw std::bad_alloc();
  // Whole lines, and one of them for no bytes: a pointer to nothing is taken for no buffer at all.
  const size_t room = bytes ? (bytes + alignment - 1) / alignment * alignment : alignment;
  void* data = std::aligned_alloc(alignment, room);
  if (!data) throw std::bad_alloc();
  std::memset(data, 0, room);
  data_.reset(data);
}

void Buffer::Free::operator()(void* data) const { std::free(data); }

Tensor::Tensor(std::string name, attn_dtype dtype, Shape shape)
    : name(std::move(name)), dtype(dtype), shape(std::move(shape)), buffer(bytes_of(dtype, this->shape)) {}

std::map<std::string, View> views_of(const Tensors& tensors) {
  std::map<std::string, View> found;
  for (const auto& [name, tensor] : tensors) found[name] = tensor.view();
  return found;
}

}  // namespace attn
