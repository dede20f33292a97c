// The graphs of a generator, bound: an answer hangs on every part of the cache.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "generate/generator.h"
#include "generate/graphs/step_graphs.h"
#include "support/bundles.h"
#include "util/random.h"

namespace attn {
namespace {

// A model with real graphs. Its answer to a prompt that is read at once is that to the same tokens read one by one.
class WithStepGraphs : public testing::Test {
 protected:
  void SetUp() override {
    ATTN_NEEDS_BUNDLES();
    bundle_ = Bundle::open(attn_test::bundles_folder() / "tiny.attn");
    graph_io_ = std::make_shared<const GraphIO>(GraphIO::of(*bundle_, std::nullopt));
    OpenOptions options;
    options.device = "cpu";
    options.threads = 1;
    const auto open = [&](const std::string& graph) {
      options.graph = graph;
      return Session::open(bundle_, options);
    };
    sessions_ = {open("encoder"), open("first"), open("step")};
    source_ = Tensor("source", ATTN_INT64, {2, 3});
    mask_ = Tensor("source_mask", ATTN_BOOL, {2, 3});
    const int64_t words[] = {3, 4, 5, 6, 7, 8};
    std::memcpy(source_.buffer.data(), words, sizeof words);
    std::memset(mask_.buffer.data(), 1, 6);
    given_ = {{"source", source_.view()}, {"source_mask", mask_.view()}};
  }

  std::unique_ptr<StepGraphs> step_graphs(size_t prompt) {
    PromptShape shape{2, 1, prompt, {{"source", {2, 3}}, {"source_mask", {2, 3}}}};
    return std::make_unique<StepGraphs>(graph_io_, sessions_, shape);
  }

  // The logits behind `tokens_`, of which all but the first are read one by one; `spoil` is called before the last one.
  template <typename Spoil>
  std::vector<float> stepped(StepGraphs& model, Spoil spoil) {
    const std::vector<int64_t> begin = {tokens_[0], tokens_[0]};
    Logits logits = model.start(given_, begin.data(), {1, 1});
    for (size_t i = 1; i < tokens_.size(); ++i) {
      if (i + 1 == tokens_.size()) spoil(model);
      logits = model.advance({tokens_[i], tokens_[i]}, {1, 1});
    }
    return copied(logits);
  }

  std::vector<float> at_once() {
    std::vector<int64_t> both = tokens_;
    both.insert(both.end(), tokens_.begin(), tokens_.end());
    const auto model = step_graphs(tokens_.size());
    return copied(model->start(given_, both.data(), {tokens_.size(), tokens_.size()}));
  }

  static std::vector<float> copied(const Logits& logits) {
    const auto* values = static_cast<const float*>(logits.data);
    return {values, values + logits.rows * logits.vocabulary};
  }

  static float furthest(const std::vector<float>& a, const std::vector<float>& b) {
    float most = 0;
    for (size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
    return most;
  }

  std::shared_ptr<const Bundle> bundle_;
  std::shared_ptr<const GraphIO> graph_io_;
  Sessions sessions_;
  Tensor source_, mask_;
  std::map<std::string, View> given_;
  const std::vector<int64_t> tokens_ = {2, 5, 9, 4, 7, 3, 8, 10, 6, 11, 12, 4, 5, 3, 9, 8, 7, 6, 10, 12};  // beyond the smallest capacity
};

TEST_F(WithStepGraphs, StepsAnswerWhatTheWholePromptDoes) {
  const auto model = step_graphs(1);
  EXPECT_LT(furthest(stepped(*model, [](StepGraphs&) {}), at_once()), 2e-5F);
}

TEST_F(WithStepGraphs, StepsAreAnsweredAgainAfterAnotherGeneration) {
  const auto model = step_graphs(1);
  const auto before = stepped(*model, [](StepGraphs&) {});
  EXPECT_EQ(stepped(*model, [](StepGraphs&) {}), before);
}

TEST_F(WithStepGraphs, EveryBreakOfTheCacheIsSeen) {
  const auto whole = at_once();
  const auto broken = [&](void (*spoil)(StepGraphs&)) { return furthest(stepped(*step_graphs(1), spoil), whole); };
  EXPECT_GT(broken([](StepGraphs& model) { model.cache().mask.view().as<uint8_t>()[0] = 0; }), 1e-3F) << "an entry is not looked at";
  EXPECT_GT(broken([](StepGraphs& model) { model.cache().mask.view().as<uint8_t>()[30] = 1; }), 1e-3F) << "an empty entry is looked at";
  for (size_t part = 0; part < graph_io_->cache.size(); ++part) {
    const auto model = step_graphs(1);
    const auto found = stepped(*model, [part](StepGraphs& each) {
      // One entry of one head: place 3 of row 0.
      const Tensor& past = each.cache().past.parts[part];
      auto* values = past.view().as<float>() + 3 * past.shape[3];
      for (int64_t i = 0; i < past.shape[3]; ++i) values[i] = -values[i];
    });
    EXPECT_GT(furthest(found, whole), 1e-4F) << graph_io_->cache[part];
  }
}

TEST_F(WithStepGraphs, CopiesLessThanTwiceWhatItHolds) {
  const auto model = step_graphs(1);
  stepped(*model, [](StepGraphs&) {});
  uint64_t entry = 0;  // bytes of one place of both rows
  for (const Tensor& part : model->cache().past.parts) entry += part.buffer.bytes() / static_cast<uint64_t>(part.shape[2]);
  EXPECT_LE(model->moved(), 2 * tokens_.size() * entry);
  EXPECT_GE(model->moved(), (tokens_.size() - 1) * entry);
}

}  // namespace
}  // namespace attn
