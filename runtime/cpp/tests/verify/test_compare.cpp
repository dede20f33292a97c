// The arithmetic of 'equal'.
#include <cmath>
#include <limits>

#include "support/scratch.h"
#include "verify/compare.h"

namespace attn {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

template <typename T>
Tensor tensor(attn_dtype dtype, const std::vector<T>& values, Shape shape = {}) {
  Tensor made("y", dtype, shape.empty() ? Shape{static_cast<int64_t>(values.size())} : shape);
  std::copy(values.begin(), values.end(), static_cast<T*>(made.buffer.data()));
  return made;
}

Tensor floats(const std::vector<float>& values) { return tensor(ATTN_FLOAT32, values); }

Difference compared(const Tensor& expected, const Tensor& got, Tolerance tolerance = {1e-3, 1e-2}) {
  return compare("y", expected, &got, tolerance);
}

TEST(Compare, TheLimitFollowsTheLargestReference) {
  const Difference found = compared(floats({0, 10}), floats({0.05F, 10}));
  EXPECT_DOUBLE_EQ(found.limit, 1e-3 + 1e-2 * 10);
  EXPECT_NEAR(found.max_error, 0.05, 1e-8);
  EXPECT_EQ(found.max_reference, 10);
  EXPECT_TRUE(found.passed);
  EXPECT_FALSE(compared(floats({0, 10}), floats({0.2F, 10})).passed);
}

TEST(Compare, TheWorstElementsComeFirst) {
  const Tensor expected = tensor<float>(ATTN_FLOAT32, {0, 0, 0, 0, 0, 0}, {2, 3});
  const Tensor got = tensor<float>(ATTN_FLOAT32, {1, 0, 5, 0, 3, 0}, {2, 3});
  const Difference found = compared(expected, got);
  ASSERT_EQ(found.worst.size(), 3u);
  EXPECT_EQ(found.worst[0].index, (Shape{0, 2}));
  EXPECT_EQ(found.worst[1].index, (Shape{1, 1}));
  EXPECT_EQ(found.worst[2].got, 1);
  EXPECT_EQ(worst_table({{"min", found}}),
            "case  output  index   expected  got  |error|  allowed\n"
            "min   y       [0, 2]  0         5    5        0.001\n"
            "min   y       [1, 1]  0         3    3        0.001\n"
            "min   y       [0, 0]  0         1    1        0.001");
}

TEST(Compare, WhatCannotBeComparedHasNotPassed) {
  EXPECT_EQ(compare("y", floats({1}), nullptr, {1, 1}).problem, "missing");
  EXPECT_EQ(compared(floats({1}), floats({1, 2})).problem, "shape [2], expected [1]");
  EXPECT_EQ(compared(floats({1}), tensor<double>(ATTN_FLOAT64, {1})).problem, "dtype float64, expected float32");
  for (const Difference& each : {compare("y", floats({1}), nullptr, {1, 1}), compared(floats({1}), floats({1, 2}))}) EXPECT_FALSE(each.passed);
}

TEST(Compare, NansAndInfinitiesHaveToBeInTheSamePlaces) {
  EXPECT_TRUE(compared(floats({kNan, kInfinity, -kInfinity, 1}), floats({kNan, kInfinity, -kInfinity, 1})).passed);
  const Difference one = compared(floats({1, 2}), floats({kNan, 2}));
  EXPECT_FALSE(one.passed);
  EXPECT_TRUE(std::isinf(one.max_error));
  EXPECT_EQ(one.problem, "NaN in 1 of 2 places where only one side has it");
  EXPECT_FALSE(compared(floats({kNan, 2}), floats({1, 2})).passed);
  EXPECT_FALSE(compared(floats({kInfinity}), floats({-kInfinity})).passed);
  EXPECT_FALSE(compared(floats({1}), floats({kInfinity})).passed);
  EXPECT_EQ(compared(floats({kInfinity, 2}), floats({kInfinity, 2})).max_reference, 2);  // an infinite limit would allow anything
}

Tolerance with_fills(std::vector<FillRange> ranges) { return {1e-3, 1e-2, {{"y", std::move(ranges)}}}; }

TEST(Compare, FillsAreHeldApart) {
  const Tolerance tolerance = with_fills({{-1.1e9, -0.9e9}, {0.9e30, 1.1e30}});
  const Tensor expected = floats({1, -2, -1e9F, -1e9F, 1e30F});
  const Difference same = compared(expected, expected, tolerance);
  EXPECT_TRUE(same.passed);
  EXPECT_EQ(same.max_reference, 2);
  EXPECT_DOUBLE_EQ(same.limit, 1e-3 + 1e-2 * 2);
  EXPECT_EQ(same.max_fill, static_cast<double>(1e30F));
  EXPECT_TRUE(compared(expected, floats({-2, 4, -1e9F, -1e9F, 1e30F})).passed);  // the rule without them: the limit is 1e28
  const Difference doubled = compared(expected, floats({-2, 4, -1e9F, -1e9F, 1e30F}), tolerance);
  EXPECT_FALSE(doubled.passed);
  EXPECT_EQ(doubled.max_error, 6);
  EXPECT_EQ(doubled.problem, "");
  EXPECT_EQ(doubled.worst[0].index, (Shape{1}));
}

TEST(Compare, AFillThatIsLostOrPutWhereNoneBelongsIsAnError) {
  const Tolerance tolerance = with_fills({{-1.1e9, -0.9e9}, {0.9e30, 1.1e30}});
  const Tensor expected = floats({1, -2, -1e9F, 1e30F});
  const Difference lost = compared(expected, floats({1, -2, 0, 1e30F}), tolerance);
  EXPECT_FALSE(lost.passed);  // of its own size, not of the 1e30 beside it
  EXPECT_EQ(lost.problem, "1 of 2 fill values differ, by up to 1e+09");
  EXPECT_EQ(lost.max_error, 0);
  EXPECT_GT(lost.fill_ratio, 99);
  EXPECT_EQ(lost.worst[0].index, (Shape{2}));
  EXPECT_DOUBLE_EQ(lost.worst[0].allowed, 1e-3 + 1e-2 * 1e9);
  EXPECT_NE(worst_table({{"min", lost}}).find("1e+07"), std::string::npos);
  EXPECT_FALSE(compared(expected, floats({1, -1e9F, -1e9F, 1e30F}), tolerance).passed);
  EXPECT_FALSE(compared(expected, floats({1, -2, -kInfinity, 1e30F}), tolerance).passed);
  EXPECT_FALSE(compared(expected, floats({1, -2, kNan, 1e30F}), tolerance).passed);
  EXPECT_TRUE(compared(expected, floats({1, -2, -1.001e9F, 1e30F}), tolerance).passed);
}

TEST(Compare, AnswersThatAreAllFillsAreEqual) {
  const Difference found = compared(floats({-1e9F, -1e9F}), floats({-1e9F, -1e9F}), with_fills({{-1e9, -1e9}}));
  EXPECT_TRUE(found.passed);
  EXPECT_EQ(found.max_reference, 0);
}

TEST(Compare, AFloat16BorderWritesItsInfinityForAFillThatItCannotHold) {
  const Tolerance tolerance = with_fills({{-1e9, -1e9}, {7e4, 7e4}, {-1e4, -1e4}});
  const Tensor expected = floats({1, -1e9F, 7e4F, -1e4F});
  const auto halves = [&](std::vector<float> got, bool half_io) {
    const Tensor answer = floats(got);
    return compare("y", expected, &answer, tolerance, half_io).passed;
  };
  EXPECT_TRUE(halves({1, -kInfinity, kInfinity, -1e4F}, true));
  EXPECT_TRUE(halves({1, -65504, 65504, -1e4F}, true));
  EXPECT_FALSE(halves({1, -kInfinity, 7e4F, -1e4F}, false));
  EXPECT_FALSE(halves({1, kInfinity, 7e4F, -1e4F}, true));
  EXPECT_FALSE(halves({1, -65000, 7e4F, -1e4F}, true));
  EXPECT_FALSE(halves({1, -1e9F, 7e4F, -kInfinity}, true));  // -1e4 fits
  EXPECT_FALSE(halves({-kInfinity, -1e9F, 7e4F, -1e4F}, true));
}

TEST(Compare, IntegersAreEqualOrNot) {
  const int64_t large = (int64_t{1} << 53) + 1;
  EXPECT_TRUE(compared(tensor<int64_t>(ATTN_INT64, {large}), tensor<int64_t>(ATTN_INT64, {large})).passed);
  const Difference found = compared(tensor<int64_t>(ATTN_INT64, {large, 3}), tensor<int64_t>(ATTN_INT64, {large - 1, 3}), {1e9, 1});
  EXPECT_FALSE(found.passed);  // in doubles they are the same
  EXPECT_EQ(found.problem, "1 of 2 differ");
  EXPECT_EQ(found.max_error, 1);
  EXPECT_FALSE(compared(tensor<uint8_t>(ATTN_BOOL, {1}), tensor<uint8_t>(ATTN_BOOL, {0}), {9, 9}).passed);
}

TEST(Compare, NothingIsEqualToNothing) {
  EXPECT_TRUE(compared(floats({}), floats({})).passed);
  EXPECT_TRUE(compared(tensor<float>(ATTN_FLOAT32, {}, {0, 3}), tensor<float>(ATTN_FLOAT32, {}, {0, 3})).passed);
}

TEST(Compare, AnOutputOfNoReferenceIsAFailure) {
  Tensors expected, got;
  expected.emplace("y", floats({1}));
  got.emplace("y", floats({1}));
  got.emplace("z", floats({1}));
  const auto found = compare_all(expected, got, {0, 0});
  ASSERT_EQ(found.size(), 2u);
  EXPECT_TRUE(found[0].passed);
  EXPECT_EQ(found[1].problem, "not in the reference");
}

TEST(Compare, OnlyWhatTheFileHasInHalfChanges) {
  const Tensor halves = halved(floats({1, 2}));
  EXPECT_EQ(halves.dtype, ATTN_FLOAT16);
  EXPECT_EQ(halved(tensor<int64_t>(ATTN_INT64, {7})).dtype, ATTN_INT64);
  const Tensor back = widened(halves, ATTN_FLOAT32);
  EXPECT_TRUE(compared(floats({1, 2}), back, {0, 0}).passed);
  EXPECT_EQ(widened(halves, ATTN_FLOAT16).dtype, ATTN_FLOAT16);
}

}  // namespace
}  // namespace attn
