#include "generate/graphs/extend_graph.h"

#include <algorithm>
#include <utility>

namespace attn {

ExtendGraph::ExtendGraph(std::shared_ptr<const GraphIO> graph_io, std::shared_ptr<Session> session, std::vector<TensorSpec> cached,
                         const std::map<std::string, View>& carried, size_t rows)
    : graph_io_(std::move(graph_io)),
      session_(std::move(session)),
      cached_(std::move(cached)),
      rows_(rows),
      position_("position", ATTN_INT64, {graph_io_->one_place ? 1 : static_cast<int64_t>(rows), 1}) {
  for (const auto& [name, view] : carried) {
    if (graph_io_->extend->input(name)) carried_[name] = view;
  }
}

const ExtendGraph::Call& ExtendGraph::run(KvCache& cache, const std::vector<int64_t>& tokens, size_t count, const std::vector<int64_t>& places) {
  // Before the binding, which may run the graph on a device: behind the places of an earlier call, of fewer tokens, may be none.
  std::copy(places.begin(), places.end(), position_.view().as<int64_t>());
  const std::pair<int64_t, size_t> key{cache.capacity(), count};
  auto found = calls_.find(key);
  if (found == calls_.end()) found = calls_.emplace(key, bound(cache, count)).first;
  const Call& made = found->second;
  std::copy(tokens.begin(), tokens.end(), made.token.view().as<int64_t>());
  made.call->run();
  return made;
}

ExtendGraph::Call ExtendGraph::bound(KvCache& cache, size_t count) const {
  const auto rows = static_cast<int64_t>(rows_), several = static_cast<int64_t>(count);
  Call made{{"token", ATTN_INT64, {rows, several}},
            {"logits", graph_io_->extend->output("logits")->dtype, {rows, several, graph_io_->vocabulary}},
            {cached_, rows, several},
            nullptr};
  std::map<std::string, View> inputs = carried_, outputs = {{"logits", made.logits.view()}};
  inputs["token"] = made.token.view();
  inputs["position"] = position_.view();
  inputs["past_mask"] = cache.mask.view();
  for (size_t i = 0; i < cached_.size(); ++i) {
    inputs[cached_[i].name] = cache.past.parts[i].view();
    outputs["new_" + graph_io_->cache[i]] = made.fresh.parts[i].view();
  }
  made.call = session_->bind({}, inputs, outputs);
  return made;
}

}  // namespace attn
