// float16 on its bits, and numbers that are drawn.
#include <gtest/gtest.h>

#include <cmath>

#include "util/half.h"
#include "util/random.h"

namespace attn {
namespace {

TEST(Half, EveryHalfSurvivesTheWayToFloatAndBack) {
  for (uint32_t half = 0; half < 0x10000; ++half) {
    const float value = float_of_half(static_cast<uint16_t>(half));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(float_of_half(half_of_float(value))));
    } else {
      ASSERT_EQ(half_of_float(value), half) << value;
    }
  }
}

TEST(Half, RoundsToNearestEven) {
  const std::pair<float, uint16_t> cases[] = {
      {1.0F, 0x3c00},        {1.0F + 0x1p-11F, 0x3c00}, {1.0F + 0x1.8p-10F, 0x3c02}, {1.0F + 0x1.002p-11F, 0x3c01},
      {65519.0F, 0x7bff},    {65520.0F, 0x7c00},        {1e9F, 0x7c00},              {-1e9F, 0xfc00},
      {0x1p-24F, 0x0001},    {0x1p-25F, 0x0000},        {0x1.01p-25F, 0x0001},       {0x1.8p-24F, 0x0002},
      {0x1.ffcp-15F, 0x0400} /* rounds up into the normal numbers */,                {-0.0F, 0x8000}};
  for (const auto& [value, half] : cases) EXPECT_EQ(half_of_float(value), half) << value;
  EXPECT_EQ(float_of_half(0x0001), 0x1p-24F);
  EXPECT_EQ(float_of_half(0x3555), 0.333251953125F);
}

TEST(RandomStream, DrawsNumpysNumbers) {
  // numpy.random.Generator(numpy.random.PCG64(seed)).random()
  RandomStream zero(0), large(9223372036854775807ULL);
  EXPECT_EQ(zero.next(), 0.6369616873214543);
  EXPECT_EQ(zero.next(), 0.2697867137638703);
  EXPECT_EQ(large.next(), 0.1754661243027813);
}

}  // namespace
}  // namespace attn
