#include "generate/graphs/prompt_slices.h"

#include <utility>

namespace attn {

PromptSlices::PromptSlices(std::shared_ptr<const GraphIO> graph_io, const Sessions& sessions)
    : graph_io_(std::move(graph_io)), sessions_(sessions) {
  // What `first` hands on beside the entries may depend on the whole prompt. Then there is an encoder, and prompts are short.
  if (graph_io_->extend && graph_io_->carried.empty()) size_ = static_cast<size_t>(graph_io_->most_guessed() + 1);
}

void PromptSlices::begin(const Entries& first, size_t count, size_t length) {
  const int64_t capacity = capacity_for(static_cast<int64_t>(length), graph_io_->capacities);
  if (bound_ && bound_->cache.capacity() == capacity) {
    bound_->cache.clear();
  } else {
    const std::vector<TensorSpec> cached = graph_io_->cached();
    bound_.reset(new Bound{{cached, 1, capacity}, {graph_io_, sessions_.extend(), cached, {}, 1}});
  }
  bound_->cache.put_prompt(first, {count}, 1);
  place_ = count;
}

Logits PromptSlices::read(const std::vector<int64_t>& tokens) {
  const std::vector<int64_t> slice(tokens.data() + place_, tokens.data() + place_ + size_);
  const ExtendGraph::Call& call = bound_->graph.run(bound_->cache, slice, size_, {static_cast<int64_t>(place_)});
  bound_->cache.put_several(call.fresh, 0, 1, place_, size_);
  place_ += size_;
  return logits_of(call.logits.view(), widened_).only(size_ - 1);
}

}  // namespace attn
