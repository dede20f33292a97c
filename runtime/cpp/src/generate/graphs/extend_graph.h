// The graph `extend`, which reads several tokens of each row, bound to the cache that steps read. The Python twin is
// attn_runtime/generate/graphs/extend_graph.py.
#pragma once

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "generate/graphs/graph_io.h"
#include "generate/graphs/kv_cache.h"
#include "session/session.h"

namespace attn {

// Calls for one number of rows, bound when they are first wanted, for each capacity and number of tokens.
class ExtendGraph {
 public:
  // One call: what it reads, and what it leaves until it is called again.
  struct Call {
    Tensor token, logits;  // int64 [rows, count]; [rows, count, vocabulary]
    Entries fresh;         // of the tokens
    std::unique_ptr<Binding> call;
  };

  // `cached` are the step's past_* inputs, in the order of graph_io.cache; `carried` is what all calls read unchanged.
  ExtendGraph(std::shared_ptr<const GraphIO> graph_io, std::shared_ptr<Session> session, std::vector<TensorSpec> cached,
              const std::map<std::string, View>& carried, size_t rows);

  // Read `count` tokens of each row, the first of a row at its place; `places` has as many as the graph's position.
  const Call& run(KvCache& cache, const std::vector<int64_t>& tokens, size_t count, const std::vector<int64_t>& places);
  size_t positions() const { return static_cast<size_t>(position_.shape[0]); }

 private:
  Call bound(KvCache& cache, size_t count) const;

  std::shared_ptr<const GraphIO> graph_io_;
  std::shared_ptr<Session> session_;
  std::vector<TensorSpec> cached_;
  std::map<std::string, View> carried_;
  size_t rows_;
  Tensor position_;
  std::map<std::pair<int64_t, size_t>, Call> calls_;
};

}  // namespace attn
