// The graphs of a generator bound to buffers that they share, for prompts of one shape. The encoder writes its memory where `first` reads it;
// `first` writes what is carried where `step` reads it; `step` reads a cache that is written in place. No tensor is copied from graph to
// graph, but where beams need rows more than once. The Python twin is attn_runtime/generate/graphs/step_graphs.py.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "generate/graphs/common_entries.h"
#include "generate/graphs/extend_graph.h"
#include "generate/graphs/graph_io.h"
#include "generate/graphs/kv_cache.h"
#include "generate/graphs/steps.h"
#include "session/session.h"

namespace attn {

// rows of the prompt, rows of the step for each of them, tokens of the prompt, shapes of the encoder's inputs.
struct PromptShape {
  size_t rows, beams, prompt;
  std::map<std::string, Shape> source;

  bool operator==(const PromptShape& other) const {
    return rows == other.rows && beams == other.beams && prompt == other.prompt && source == other.source;
  }
};

// One session a graph. `encoder` is null for a decoder-only model.
struct Sessions {
  std::shared_ptr<Session> encoder, first, step;
  std::function<std::shared_ptr<Session>()> extend = nullptr;  // opened when it is first wanted: it may hold the weights once more
};

// One generation at a time: `start`, then `advance` (and `reorder`) as often as one likes. Rows of the step are called rows here: each row
// of the prompt has `beams` of them, one behind the other.
class StepGraphs : public Steps {
 public:
  StepGraphs(std::shared_ptr<const GraphIO> graph_io, const Sessions& sessions, PromptShape shape);

  const PromptShape& shape() const { return shape_; }
  size_t rows() const override { return rows_; }
  // Read the prompts alone: tokens int64 [rows of the prompt, prompt], of which `lengths` count. What is left of them lies in `prompt` and
  // `carried`. Answers the logits behind each one's last token, [rows of the prompt, vocabulary], overwritten by the next reading.
  Logits read(const std::map<std::string, View>& source, const int64_t* tokens, const std::vector<size_t>& lengths);
  const Entries& prompt() const { return prompt_; }
  const std::map<std::string, View>& carried() const { return carried_; }
  // `read` the prompts, and have the step go on from them.
  Logits start(const std::map<std::string, View>& source, const int64_t* tokens, const std::vector<size_t>& lengths);
  Logits advance(const std::vector<int64_t>& tokens, const std::vector<uint8_t>& active) override;
  void reorder(const std::vector<size_t>& parents, const std::vector<uint8_t>& active) override;

  // Feed `count` tokens a row and answer the logits behind each, rows * count rows of them, overwritten by the next call of as many. Nothing
  // goes into the cache but what `keep` is told of, which comes before any other call. The model has room for the tokens in every row that is
  // `active`.
  Logits extend(const std::vector<int64_t>& tokens, size_t count, const std::vector<uint8_t>& active, const std::shared_ptr<Session>& session);
  // Put the entries of the first counts[i] tokens of row i that `extend` read into the cache; 0 for a row that ended.
  void keep(const std::vector<size_t>& counts);

  KvCache& cache() { return *cache_; }  // for tests, which break it
  uint64_t moved() const;             // bytes written into caches so far

 private:
  struct Bound {
    std::unique_ptr<KvCache> cache;
    std::unique_ptr<Binding> call;
  };
  struct Repeated {
    View wide, narrow;
  };

  Tensor& buffer(const std::string& name, attn_dtype dtype, Shape shape);
  void write_pending(const std::vector<uint8_t>& active);
  size_t furthest(const std::vector<uint8_t>& active) const;
  void grow(size_t entries);
  void use(int64_t capacity);

  std::shared_ptr<const GraphIO> graph_io_;
  std::shared_ptr<Session> step_session_;
  PromptShape shape_;
  size_t rows_;
  std::vector<TensorSpec> cached_;  // the step's past_* inputs, in the order of graph_io.cache
  std::vector<std::unique_ptr<Tensor>> buffers_;
  std::unique_ptr<Binding> encoder_, first_;
  Entries prompt_, fresh_;
  std::map<std::string, View> carried_;
  std::vector<Repeated> repeated_;
  View token_, position_, logits_;
  std::vector<float> widened_;  // of float16 logits
  std::map<int64_t, Bound> steps_;
  KvCache* cache_ = nullptr;
  Binding* step_ = nullptr;
  size_t place_ = 0;             // of the next token, while it is the same for all rows
  std::vector<size_t> places_;  // of each row's, where it is not
  bool pending_ = false;
  std::optional<CommonEntries> common_;
  std::unique_ptr<ExtendGraph> extend_;
  const ExtendGraph::Call* extended_ = nullptr;
};

// Those for the latest shapes of prompts, whose buffers are kept for the next prompts of the same shape.
class LatestStepGraphs {
 public:
  // `most` shapes
  explicit LatestStepGraphs(size_t most) : most_(most) {}

  StepGraphs& of(const std::shared_ptr<const GraphIO>& graph_io, const Sessions& sessions, PromptShape shape);
  void clear() { kept_.clear(); }

 private:
  size_t most_;
  std::list<StepGraphs> kept_;  // the newest first
};

}  // namespace attn
