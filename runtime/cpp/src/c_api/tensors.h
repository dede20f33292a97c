// Tensors of the C interface: read with suspicion, since everything in them was written by somebody else.
#pragma once

#include <attn/runtime.h>

#include <map>
#include <string>

#include "util/tensor.h"

namespace attn {

// By name, each with as many bytes at `data` as its shape needs. Raises usage_error for a NULL, no or a repeated name, input_error for a
// dtype, rank, size or room that can't be. `what` is the parameter's name.
std::map<std::string, View> read_tensors(const attn_tensor* tensors, size_t count, const char* what);

// Names alone, for outputs that are to be filled in. Raises usage_error.
std::vector<std::string> read_names(const attn_tensor* tensors, size_t count, const char* what);

// Raises usage_error where the tensor has more axes than an attn_tensor can hold.
void write_tensor(const View& view, const std::string& where, attn_tensor& tensor);

}  // namespace attn
