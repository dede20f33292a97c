#include "c_api/tensors.h"

#include <algorithm>
#include <cstring>

#include "util/error.h"

namespace attn {
namespace {

View read_tensor(const attn_tensor& tensor) {
  const std::string called = "tensor \"" + std::string(tensor.name) + "\"";
  int dtype = 0;  // as an attn_dtype, any other number must not even be looked at
  static_assert(sizeof dtype == sizeof tensor.dtype);
  std::memcpy(&dtype, &tensor.dtype, sizeof dtype);
  if (dtype < ATTN_FLOAT16 || dtype > ATTN_BOOL) {
    throw input_error(called + ": its dtype is " + std::to_string(dtype) + "; expected an attn_dtype, 1..12");
  }
  if (tensor.rank > ATTN_MAX_RANK) {
    throw input_error(called + ": its rank is " + std::to_string(tensor.rank) + "; expected at most " + std::to_string(ATTN_MAX_RANK));
  }
  View view{tensor.dtype, Shape(tensor.shape, tensor.shape + tensor.rank), tensor.data};
  if (std::any_of(view.shape.begin(), view.shape.end(), [](int64_t size) { return size < 0; })) {
    throw input_error(called + ": its shape is " + text(view.shape) + "; expected sizes of 0 or more");
  }
  const size_t needed = view.bytes();
  if (tensor.bytes < needed) {
    throw input_error(called + ": " + name_of(view.dtype) + " " + text(view.shape) + " takes " + std::to_string(needed) +
                      " bytes, and `bytes` is " + std::to_string(tensor.bytes));
  }
  return view;
}

}  // namespace

std::vector<std::string> read_names(const attn_tensor* tensors, size_t count, const char* what) {
  if (count && !tensors) throw usage_error("parameter " + std::string(what) + " is NULL; expected " + std::to_string(count) + " tensors");
  std::vector<std::string> names;
  for (size_t i = 0; i < count; ++i) {
    const std::string place = std::string(what) + "[" + std::to_string(i) + "]";
    if (!tensors[i].name) throw usage_error(place + " has no name; every tensor needs one");
    if (std::find(names.begin(), names.end(), tensors[i].name) != names.end()) {
      throw usage_error(place + " is \"" + tensors[i].name + "\" again; give each tensor once");
    }
    names.emplace_back(tensors[i].name);
  }
  return names;
}

std::map<std::string, View> read_tensors(const attn_tensor* tensors, size_t count, const char* what) {
  const std::vector<std::string> names = read_names(tensors, count, what);
  std::map<std::string, View> found;
  for (size_t i = 0; i < count; ++i) found[names[i]] = read_tensor(tensors[i]);
  return found;
}

void write_tensor(const View& view, const std::string& where, attn_tensor& tensor) {
  if (view.shape.size() > ATTN_MAX_RANK) {
    throw usage_error(where + ": a tensor has " + std::to_string(view.shape.size()) + " axes; attn_tensor holds at most " +
                      std::to_string(ATTN_MAX_RANK));
  }
  tensor.dtype = view.dtype;
  tensor.rank = view.shape.size();
  std::copy(view.shape.begin(), view.shape.end(), tensor.shape);
}

}  // namespace attn
