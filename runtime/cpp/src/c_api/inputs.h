// What pictures, recordings and texts become: tensors in memory of the caller's.
#pragma once

#include <attn/runtime.h>

#include <string>

#include "bundle/bundle.h"

namespace attn {

// What the tensor becomes, to be handed out once its data are written. Raises input_error for memory that can't be written to, for too
// little of it with the shape told.
attn_tensor described(attn_tensor& tensor, const Bundle& bundle, const std::string& name, attn_dtype dtype, const Shape& shape);

}  // namespace attn
