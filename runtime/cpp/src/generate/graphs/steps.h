// What a search for answers needs of a model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "generate/graphs/logits.h"

namespace attn {

// A model that is fed token by token. Rows that are not `active` are computed along with the others, and what they get means nothing.
class Steps {
 public:
  virtual ~Steps() = default;
  virtual size_t rows() const = 0;
  // Feed one token a row and answer the logits of the next, overwritten by the next call.
  virtual Logits advance(const std::vector<int64_t>& tokens, const std::vector<uint8_t>& active) = 0;
  // Let row i go on from what row parents[i], of the same prompt, has read so far.
  virtual void reorder(const std::vector<size_t>& parents, const std::vector<uint8_t>& active) = 0;
};

}  // namespace attn
