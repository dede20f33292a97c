// The cache: what is written, and what is moved.
#include <gtest/gtest.h>

#include <cstring>

#include "generate/graphs/kv_cache.h"
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

std::string mask_of(KvCache& cache, size_t row) {
  const auto* set = cache.mask.view().as<uint8_t>() + row * static_cast<size_t>(cache.capacity());
  std::string text;
  for (int64_t i = 0; i < cache.capacity(); ++i) text += set[i] ? '1' : '0';
  return text;
}

TEST(Cache, TakesAPromptForEveryBeam) {
  Entries prompt(two_specs(), 2, 3);
  fill(prompt);
  KvCache cache(two_specs(), 4, 8);
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
  KvCache cache(two_specs(), 3, 8);
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
  KvCache small(two_specs(), 2, 4), large(two_specs(), 2, 8);
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
    std::vector<size_t> parents(rows), firsts(rows), lengths(rows, 4);
    for (size_t& parent : parents) parent = static_cast<size_t>(stream.next() * static_cast<double>(rows));
    for (size_t& first : firsts) first = static_cast<size_t>(stream.next() * 5);
    KvCache cache(two_specs(), static_cast<int64_t>(rows), 6);
    fill(cache.past);
    cache.reorder(parents, firsts, lengths);
    each_value(cache.past, [&](float value, size_t part, size_t row, size_t head, size_t place, size_t at) {
      EXPECT_EQ(value, stamp(part, place >= firsts[row] && place < 4 ? parents[row] : row, head, place, at)) << "round " << round;
    });
    size_t moved = 0;
    for (size_t row = 0; row < rows; ++row) moved += parents[row] != row ? 4 - firsts[row] : 0;
    EXPECT_EQ(cache.past.moved, moved * 2 * (2 + 3) * sizeof(float));
  }
}

}  // namespace
}  // namespace attn
