#include "generate/graphs/step_graphs.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace attn {
namespace {

int64_t whole(size_t value) { return static_cast<int64_t>(value); }

// Let every row of `narrow` fill as many rows of `wide`, one behind the other, as it has room for.
void repeat_rows(const View& wide, const View& narrow) {
  const auto rows = static_cast<size_t>(narrow.shape[0]), times = static_cast<size_t>(wide.shape[0]) / rows;
  const size_t piece = narrow.bytes() / rows;
  for (size_t row = 0; row < rows; ++row) {
    for (size_t copy = 0; copy < times; ++copy) {
      std::memcpy(wide.as<char>() + (row * times + copy) * piece, narrow.as<char>() + row * piece, piece);
    }
  }
}

}  // namespace

StepGraphs::StepGraphs(std::shared_ptr<const GraphIO> graph_io, const Sessions& sessions, PromptShape shape)
    : graph_io_(std::move(graph_io)),
      step_session_(sessions.step),
      shape_(std::move(shape)),
      rows_(shape_.rows * shape_.beams),
      cached_(graph_io_->cached()),
      prompt_(cached_, whole(shape_.rows), whole(shape_.prompt)),
      fresh_(cached_, whole(rows_), 1) {
  std::map<std::string, View> flow;
  const auto add = [&flow](const std::map<std::string, View>& views) {
    for (const auto& [name, view] : views) flow[name] = view;
  };
  if (sessions.encoder) {
    std::map<std::string, View> given;
    for (const TensorSpec& spec : sessions.encoder->inputs) {
      given[spec.name] = buffer(spec.name, spec.dtype, shape_.source.at(spec.name)).view();
    }
    encoder_ = sessions.encoder->bind({}, given, {});
    add(encoder_->inputs);
    add(encoder_->outputs);
  }
  const Shape prompt = {whole(shape_.rows), whole(shape_.prompt)};
  std::map<std::string, View> inputs = {{"tokens", buffer("tokens", ATTN_INT64, prompt).view()},
                                        {"tokens_mask", buffer("tokens_mask", ATTN_BOOL, prompt).view()}};
  // A device may run the call once when it is bound, and nothing to look at is nothing to test with.
  std::memset(inputs.at("tokens_mask").data, 1, inputs.at("tokens_mask").bytes());
  for (const TensorSpec& spec : graph_io_->first.inputs) {
    if (const auto found = flow.find(spec.name); found != flow.end()) inputs.insert(*found);
  }
  const attn_dtype first_logits = graph_io_->first.output("logits")->dtype, step_logits = graph_io_->step.output("logits")->dtype;
  std::map<std::string, View> outputs = {{"logits", buffer("logits", first_logits, {whole(shape_.rows), graph_io_->vocabulary}).view()}};
  for (size_t i = 0; i < cached_.size(); ++i) outputs["new_" + graph_io_->cache[i]] = prompt_.parts[i].view();
  first_ = sessions.first->bind({}, inputs, outputs);
  add(first_->outputs);
  for (const std::string& name : graph_io_->carried) {
    const View narrow = flow.at(name);
    if (shape_.beams == 1) {
      carried_[name] = narrow;
      continue;
    }
    Shape wide = narrow.shape;
    wide[0] = whole(rows_);
    carried_[name] = buffer(name, narrow.dtype, wide).view();
    repeated_.push_back({carried_[name], narrow});
  }
  token_ = buffer("token", ATTN_INT64, {whole(rows_), 1}).view();
  position_ = buffer("position", ATTN_INT64, {graph_io_->one_place ? 1 : whole(rows_), 1}).view();
  logits_ = buffer("logits", step_logits, {whole(rows_), graph_io_->vocabulary}).view();
}

Tensor& StepGraphs::buffer(const std::string& name, attn_dtype dtype, Shape shape) {
  buffers_.push_back(std::make_unique<Tensor>(name, dtype, std::move(shape)));
  return *buffers_.back();
}

Logits StepGraphs::read(const std::map<std::string, View>& source, const int64_t* tokens, const std::vector<size_t>& lengths) {
  if (encoder_) {
    for (const auto& [name, view] : source) std::memcpy(encoder_->inputs.at(name).data, view.data, view.bytes());
    encoder_->run();
  }
  const View &prompt = first_->inputs.at("tokens"), &mask = first_->inputs.at("tokens_mask");
  std::memcpy(prompt.data, tokens, prompt.bytes());
  for (size_t row = 0; row < shape_.rows; ++row) {
    uint8_t* set = mask.as<uint8_t>() + row * shape_.prompt;
    std::fill_n(set, lengths[row], uint8_t{1});
    std::fill_n(set + lengths[row], shape_.prompt - lengths[row], uint8_t{0});
  }
  first_->run();
  return logits_of(first_->outputs.at("logits"), widened_);
}

Logits StepGraphs::start(const std::map<std::string, View>& source, const int64_t* tokens, const std::vector<size_t>& lengths) {
  const Logits behind = read(source, tokens, lengths);
  for (const Repeated& each : repeated_) repeat_rows(each.wide, each.narrow);
  const auto [shortest, longest] = std::minmax_element(lengths.begin(), lengths.end());
  use(capacity_for(whole(*longest) + 1, graph_io_->capacities));
  cache_->put_prompt(prompt_, lengths, shape_.beams);
  common_.emplace(lengths, shape_.beams);
  place_ = *longest;
  pending_ = false;
  places_.clear();
  if (*shortest != *longest) {
    for (const size_t length : lengths) places_.insert(places_.end(), shape_.beams, length);
  }
  return behind;
}

Logits StepGraphs::advance(const std::vector<int64_t>& tokens, const std::vector<uint8_t>& active) {
  write_pending(active);
  grow(furthest(active) + 1);
  std::copy(tokens.begin(), tokens.end(), token_.as<int64_t>());
  // A row that has no room for an answer stands behind its last place; what it is told there is not looked at.
  const int64_t last = graph_io_->max_length - 1;
  for (size_t row = 0; row < static_cast<size_t>(position_.shape[0]); ++row) {
    position_.as<int64_t>()[row] = places_.empty() ? whole(place_) : std::min(whole(places_[row]), last);
  }
  step_->run();
  pending_ = true;
  return logits_of(logits_, widened_);
}

Logits StepGraphs::extend(const std::vector<int64_t>& tokens, size_t count, const std::vector<uint8_t>& active,
                          const std::shared_ptr<Session>& session) {
  write_pending(active);
  if (!extend_) extend_ = std::make_unique<ExtendGraph>(graph_io_, session, cached_, carried_, rows_);
  grow(furthest(active) + count);
  // Of a row that ended, so far from the end that there is a place for each token.
  const int64_t last = std::min(graph_io_->max_length, cache_->capacity()) - whole(count);
  std::vector<int64_t> places(extend_->positions(), whole(place_));
  for (size_t row = 0; row < places_.size(); ++row) places[row] = std::min(whole(places_[row]), last);
  extended_ = &extend_->run(*cache_, tokens, count, places);
  return logits_of(extended_->logits.view(), widened_);
}

void StepGraphs::keep(const std::vector<size_t>& counts) {
  const size_t most = *std::max_element(counts.begin(), counts.end());
  const bool alike = std::all_of(counts.begin(), counts.end(), [&](size_t count) { return !count || count == most; });
  if (places_.empty() && alike) {
    cache_->put_several(extended_->fresh, 0, rows_, place_, most);
    place_ += most;
    return;
  }
  if (places_.empty()) places_.assign(rows_, place_);
  for (size_t row = 0; row < rows_; ++row) {
    if (!counts[row]) continue;
    cache_->put_several(extended_->fresh, row, 1, places_[row], counts[row]);
    places_[row] += counts[row];
  }
}

void StepGraphs::reorder(const std::vector<size_t>& parents, const std::vector<uint8_t>& active) {
  write_pending(active);
  const std::vector<size_t> lengths = places_.empty() ? std::vector<size_t>(rows_, place_) : places_;
  cache_->reorder(parents, common_->follow(parents, lengths), lengths);
}

uint64_t StepGraphs::moved() const {
  uint64_t sum = 0;
  for (const auto& [capacity, bound] : steps_) sum += bound.cache->past.moved;
  return sum;
}

// The place of the next token of the row that is furthest.
size_t StepGraphs::furthest(const std::vector<uint8_t>& active) const {
  if (places_.empty()) return place_;
  size_t found = 0;
  for (size_t row = 0; row < rows_; ++row) {
    if (active[row]) found = std::max(found, places_[row]);
  }
  return found;
}

// Write the newest entry of each row into the cache. Not after the last step: nobody would read it.
void StepGraphs::write_pending(const std::vector<uint8_t>& active) {
  if (!pending_) return;
  pending_ = false;
  if (places_.empty()) {
    cache_->put(fresh_, place_);
    ++place_;
    return;
  }
  for (size_t row = 0; row < rows_; ++row) {
    if (!active[row]) continue;
    cache_->put_row(fresh_, row, places_[row]);
    ++places_[row];
  }
}

// Make room for so many entries, or for as many as the graph takes.
void StepGraphs::grow(size_t entries) {
  const int64_t capacity = capacity_for(whole(entries), graph_io_->capacities);
  if (capacity <= cache_->capacity()) return;
  const KvCache& smaller = *cache_;
  use(capacity);
  cache_->take_over(smaller);
}

// Make the cache of this capacity, bound once, the one that steps read; it is empty.
void StepGraphs::use(int64_t capacity) {
  auto found = steps_.find(capacity);
  if (found == steps_.end()) {
    Bound made;
    made.cache = std::make_unique<KvCache>(cached_, whole(rows_), capacity);
    std::map<std::string, View> inputs = carried_, outputs = {{"logits", logits_}};
    inputs["token"] = token_;
    inputs["position"] = position_;
    inputs["past_mask"] = made.cache->mask.view();
    for (size_t i = 0; i < cached_.size(); ++i) {
      inputs[cached_[i].name] = made.cache->past.parts[i].view();
      outputs["new_" + graph_io_->cache[i]] = fresh_.parts[i].view();
    }
    made.call = step_session_->bind({}, inputs, outputs);
    found = steps_.emplace(capacity, std::move(made)).first;
  } else {
    found->second.cache->clear();
  }
  cache_ = found->second.cache.get();
  step_ = found->second.call.get();
}

StepGraphs& LatestStepGraphs::of(const std::shared_ptr<const GraphIO>& graph_io, const Sessions& sessions, PromptShape shape) {
  const auto found = std::find_if(kept_.begin(), kept_.end(), [&](const StepGraphs& each) { return each.shape() == shape; });
  if (found != kept_.end()) {
    kept_.splice(kept_.begin(), kept_, found);
  } else {
    kept_.emplace_front(graph_io, sessions, std::move(shape));
    if (kept_.size() > most_) kept_.pop_back();
  }
  return kept_.front();
}

}  // namespace attn
