// The cache: what is written, what is moved, and that an answer hangs on every part of it.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "generate/generator.h"
#include "generate/graphs/kv_cache.h"
#include "generate/graphs/step_graphs.h"
#include "support/bundles.h"
#include "util/random.h"

namespace attn {
namespace {

TEST(Capacity, IsAPowerOfTwoWithinWhatTheGraphTakes) {
  const std::pair<int64_t, int64_t> wide = {1, 1000};
  EXPECT_EQ(capacity_for(1, wide), 16);
  EXPECT_EQ(capacity_for(16, wide), 16);
  EXPECT_EQ(capacity_for(17, wide), 32);
  EXPECT_EQ(capacity_for(513, wide), 1000);
  EXPECT_EQ(capacity_for(5000, wide), 1000);
  EXPECT_EQ(capacity_for(1, {40, 100}), 40);
  EXPECT_EQ(capacity_for(5, {1, 8}), 8);
}

std::vector<TensorSpec> two_specs() {
  std::vector<TensorSpec> specs(2);
  for (size_t i = 0; i < specs.size(); ++i) {
    specs[i].name = i ? "past_value_0" : "past_key_0";
    specs[i].dtype = ATTN_FLOAT32;
    const auto size = static_cast<int64_t>(2 + i);
    specs[i].dims = {{"batch", 1, 2, 9}, {std::nullopt, 2, 2, 2}, {"cache", 1, 4, 64}, {std::nullopt, size, size, size}};
  }
  return specs;
}

// A value that tells where it lies.
float stamp(size_t part, size_t row, size_t head, size_t place, size_t at) {
  return static_cast<float>((((part * 50 + row) * 3 + head) * 100 + place) * 5 + at);
}

template <typename Call>
void each_value(Entries& entries, Call call) {
  for (size_t part = 0; part < entries.parts.size(); ++part) {
    const Shape& shape = entries.parts[part].shape;
    auto* values = entries.parts[part].view().as<float>();
    for (size_t row = 0; row < static_cast<size_t>(shape[0]); ++row) {
      for (size_t head = 0; head < static_cast<size_t>(shape[1]); ++head) {
        for (size_t place = 0; place < static_cast<size_t>(shape[2]); ++place) {
          for (size_t at = 0; at < static_cast<size_t>(shape[3]); ++at) call(*values++, part, row, head, place, at);
        }
      }
    }
  }
}

void fill(Entries& entries) {
  each_value(entries, [](float& value, size_t part, size_t row, size_t head, size_t place, size_t at) { value = stamp(part, row, head, place, at); });
}

std::string mask_of(Cache& cache, size_t row) {
  const auto* set = cache.mask.view().as<uint8_t>() + row * static_cast<size_t>(cache.capacity());
  std::string text;
  for (int64_t i = 0; i < cache.capacity(); ++i) text += set[i] ? '1' : '0';
  return text;
}

TEST(Cache, TakesAPromptForEveryBeam) {
  Entries prompt(two_specs(), 2, 3);
  fill(prompt);
  Cache cache(two_specs(), 4, 8);
  cache.put_prompt(prompt, {3, 2}, 2);
  EXPECT_EQ(mask_of(cache, 1), "11100000");
  EXPECT_EQ(mask_of(cache, 2), "11000000");
  each_value(cache.past, [](float value, size_t part, size_t row, size_t head, size_t place, size_t at) {
    const size_t length = row < 2 ? 3 : 2;
    EXPECT_EQ(value, place < length ? stamp(part, row / 2, head, place, at) : 0.0F);
  });
}

TEST(Cache, WritesOneEntryAStep) {
  Entries fresh(two_specs(), 3, 1);
  fill(fresh);
  Cache cache(two_specs(), 3, 8);
  cache.put(fresh, 5);
  EXPECT_EQ(cache.past.moved, 3U * 2 * (2 + 3) * sizeof(float));
  cache.put_row(fresh, 1, 2);
  EXPECT_EQ(cache.past.moved, 4U * 2 * (2 + 3) * sizeof(float));
  EXPECT_EQ(mask_of(cache, 0), "00000100");
  EXPECT_EQ(mask_of(cache, 1), "00100100");
  each_value(cache.past, [](float value, size_t part, size_t row, size_t head, size_t place, size_t at) {
    const bool written = place == 5 || (place == 2 && row == 1);
    EXPECT_EQ(value, written ? stamp(part, row, head, 0, at) : 0.0F);
  });
}

TEST(Cache, GrowsWithoutLosingAnything) {
  Cache small(two_specs(), 2, 4), large(two_specs(), 2, 8);
  fill(small.past);
  std::memset(small.mask.view().as<uint8_t>(), 1, 8);
  large.take_over(small);
  EXPECT_EQ(mask_of(large, 1), "11110000");
  each_value(large.past, [](float value, size_t part, size_t row, size_t head, size_t place, size_t at) {
    EXPECT_EQ(value, place < 4 ? stamp(part, row, head, place, at) : 0.0F);
  });
  large.clear();
  EXPECT_EQ(mask_of(large, 0), "00000000");
  each_value(large.past, [](float value, size_t, size_t, size_t, size_t, size_t) { EXPECT_EQ(value, 0.0F); });
}

TEST(Cache, ReordersRowsInPlace) {
  RandomStream stream(3);
  for (int round = 0; round < 300; ++round) {
    const size_t rows = 1 + static_cast<size_t>(stream.next() * 7);
    std::vector<size_t> parents(rows), lengths(rows, 4);
    for (size_t& parent : parents) parent = static_cast<size_t>(stream.next() * static_cast<double>(rows));
    Cache cache(two_specs(), static_cast<int64_t>(rows), 6);
    fill(cache.past);
    cache.reorder(parents, lengths);
    each_value(cache.past, [&](float value, size_t part, size_t row, size_t head, size_t place, size_t at) {
      EXPECT_EQ(value, stamp(part, place < 4 ? parents[row] : row, head, place, at)) << "round " << round;
    });
    size_t moved_rows = 0;
    for (size_t row = 0; row < rows; ++row) moved_rows += parents[row] != row;
    EXPECT_LE(cache.past.moved, moved_rows * 4 * 2 * (2 + 3) * sizeof(float));
  }
}

// A model with real graphs. Its answer to a prompt that is read at once is that to the same tokens read one by one.
class WithPlan : public testing::Test {
 protected:
  void SetUp() override {
    ATTN_NEEDS_BUNDLES();
    bundle_ = Bundle::open(attn_test::bundles_folder() / "tiny.attn");
    wiring_ = std::make_shared<const Wiring>(Wiring::of(*bundle_, std::nullopt));
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

  std::unique_ptr<Plan> plan(size_t prompt) {
    PlanShape shape{2, 1, prompt, {{"source", {2, 3}}, {"source_mask", {2, 3}}}};
    return std::make_unique<Plan>(wiring_, sessions_, shape);
  }

  // The logits behind `tokens_`, of which all but the first are read one by one; `spoil` is called before the last one.
  template <typename Spoil>
  std::vector<float> stepped(Plan& model, Spoil spoil) {
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
    const auto model = plan(tokens_.size());
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
  std::shared_ptr<const Wiring> wiring_;
  Sessions sessions_;
  Tensor source_, mask_;
  std::map<std::string, View> given_;
  const std::vector<int64_t> tokens_ = {2, 5, 9, 4, 7, 3, 8, 10, 6, 11, 12, 4, 5, 3, 9, 8, 7, 6, 10, 12};  // beyond the smallest capacity
};

TEST_F(WithPlan, StepsAnswerWhatTheWholePromptDoes) {
  const auto model = plan(1);
  EXPECT_LT(furthest(stepped(*model, [](Plan&) {}), at_once()), 2e-5F);
}

TEST_F(WithPlan, StepsAreAnsweredAgainAfterAnotherGeneration) {
  const auto model = plan(1);
  const auto before = stepped(*model, [](Plan&) {});
  EXPECT_EQ(stepped(*model, [](Plan&) {}), before);
}

TEST_F(WithPlan, EveryBreakOfTheCacheIsSeen) {
  const auto whole = at_once();
  const auto broken = [&](void (*spoil)(Plan&)) { return furthest(stepped(*plan(1), spoil), whole); };
  EXPECT_GT(broken([](Plan& model) { model.cache().mask.view().as<uint8_t>()[0] = 0; }), 1e-3F) << "an entry is not looked at";
  EXPECT_GT(broken([](Plan& model) { model.cache().mask.view().as<uint8_t>()[30] = 1; }), 1e-3F) << "an empty entry is looked at";
  for (size_t part = 0; part < wiring_->cache.size(); ++part) {
    const auto model = plan(1);
    const auto found = stepped(*model, [part](Plan& each) {
      // One entry of one head: place 3 of row 0.
      const Tensor& past = each.cache().past.parts[part];
      auto* values = past.view().as<float>() + 3 * past.shape[3];
      for (int64_t i = 0; i < past.shape[3]; ++i) values[i] = -values[i];
    });
    EXPECT_GT(furthest(found, whole), 1e-4F) << wiring_->cache[part];
  }
}

TEST_F(WithPlan, CopiesLessThanTwiceWhatItHolds) {
  const auto model = plan(1);
  stepped(*model, [](Plan&) {});
  uint64_t entry = 0;  // bytes of one place of both rows
  for (const Tensor& part : model->cache().past.parts) entry += part.buffer.bytes() / static_cast<uint64_t>(part.shape[2]);
  EXPECT_LE(model->moved(), 2 * tokens_.size() * entry);
  EXPECT_GE(model->moved(), (tokens_.size() - 1) * entry);
}

}  // namespace
}  // namespace attn
