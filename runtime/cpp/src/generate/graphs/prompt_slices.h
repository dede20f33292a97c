// A prompt of one row read a few tokens at a time, so that other rows have their steps in between. `first` reads its first slice, which is
// what whole slices leave over, and `extend` the others, against the entries of those before. That is the same as one reading where no token
// sees those behind it, as in every model that writes token by token. The Python twin is attn_runtime/generate/graphs/prompt_slices.py.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "generate/graphs/extend_graph.h"
#include "generate/graphs/graph_io.h"
#include "generate/graphs/kv_cache.h"
#include "generate/graphs/logits.h"
#include "generate/graphs/step_graphs.h"

namespace attn {

// One prompt at a time: `begin`, then `read` until all of it was.
class PromptSlices {
 public:
  PromptSlices(std::shared_ptr<const GraphIO> graph_io, const Sessions& sessions);

  // How many tokens of a prompt of `length` the first slice has: all where the rest can't be read.
  size_t first(size_t length) const { return size_ ? (length - 1) % size_ + 1 : length; }
  // Go on from the entries of the first `count` tokens of `length`.
  void begin(const Entries& first, size_t count, size_t length);
  // Read the next slice of `tokens`, which are all of the prompt's, and answer the logits behind it, overwritten by the next.
  Logits read(const std::vector<int64_t>& tokens);
  // How many tokens were read, whose entries lie in `prompt`.
  size_t place() const { return place_; }
  const Entries& prompt() const { return bound_->cache.past; }
  // Let go of buffers.
  void clear() { bound_.reset(); }

 private:
  struct Bound {
    KvCache cache;
    ExtendGraph graph;
  };

  std::shared_ptr<const GraphIO> graph_io_;
  Sessions sessions_;
  size_t size_ = 0, place_ = 0;
  std::unique_ptr<Bound> bound_;  // for the next prompt of as many entries
  std::vector<float> widened_;    // of float16 logits
};

}  // namespace attn
