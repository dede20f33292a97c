// Specs as the C interface shows them. The pointers lead into the specs that it was made from, which must stay where they are.
#pragma once

#include <attn/runtime.h>

#include <vector>

#include "util/spec.h"

namespace attn {

class CSpecs {
 public:
  CSpecs() = default;
  explicit CSpecs(const std::vector<TensorSpec>& specs) {
    dims_.reserve(specs.size());
    for (const TensorSpec& spec : specs) {
      std::vector<attn_dim>& dims = dims_.emplace_back();
      for (const Dim& dim : spec.dims) dims.push_back({dim.name ? dim.name->c_str() : nullptr, dim.min, dim.opt, dim.max});
      specs_.push_back({spec.name.c_str(), spec.dtype, dims.size(), dims.data(), spec.meaning.c_str(), spec.unit.c_str(),
                        spec.low.has_value(), spec.high.has_value(), spec.low.value_or(0), spec.high.value_or(0)});
    }
  }
  CSpecs(const CSpecs&) = delete;
  CSpecs& operator=(const CSpecs&) = delete;
  CSpecs(CSpecs&&) = default;
  CSpecs& operator=(CSpecs&&) = default;

  size_t size() const { return specs_.size(); }
  const attn_spec* at(size_t index) const { return index < specs_.size() ? &specs_[index] : nullptr; }

 private:
  std::vector<std::vector<attn_dim>> dims_;
  std::vector<attn_spec> specs_;
};

}  // namespace attn
