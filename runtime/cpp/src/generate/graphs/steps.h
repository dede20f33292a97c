// What a search for answers needs of a model, and what it leaves behind.
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

enum class Stopped { stop, length, cancelled };

// One answer for each row. The Python twin is attn_runtime/generate/result.py.
struct Generated {
  std::vector<std::vector<int64_t>> tokens;  // without begin and prompt, with the stop token where there is one
  std::vector<double> scores;                // sums of log probabilities over length to the power of length_penalty; or empty
  std::vector<Stopped> stopped;
  size_t steps = 0;  // tokens chosen for the row that took longest
};

}  // namespace attn
