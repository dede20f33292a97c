// Which profile a call runs with.
#include <gtest/gtest.h>

#include "support/scratch.h"
#include "trt/profiles.h"

namespace attn {
namespace {

const TrtProfile kSmall{{{1, 3}, {1, 3}, {4, 3}}}, kLarge{{{2, 3}, {32, 3}, {64, 3}}};

TEST(TrtProfiles, TheNearestThatCoversIsTaken) {
  const auto chosen = [](int64_t batch) { return choose_profile({kLarge, kSmall}, {"x"}, {{batch, 3}}, "w", "c"); };
  EXPECT_EQ(chosen(1), 1U);
  EXPECT_EQ(chosen(3), 1U);
  EXPECT_EQ(chosen(5), 0U);
  EXPECT_EQ(choose_profile({kLarge, {{{2, 3}, {32, 3}, {40, 3}}}}, {"x"}, {{32, 3}}, "w", "c"), 1U);  // the tightest
  EXPECT_EQ(choose_profile({kSmall, kSmall}, {"x"}, {{2, 3}}, "w", "c"), 0U);
}

TEST(TrtProfiles, WhatNoneCoversIsTold) {
  const auto told = [](const std::vector<TrtProfile>& profiles, const std::vector<std::string>& names, const std::vector<Shape>& shapes) {
    return raised([&] { choose_profile(profiles, names, shapes, "bundle a.attn, engine e", "attn-run compile a.attn"); }, ATTN_ERROR_INPUT);
  };
  EXPECT_EQ(told({kSmall}, {"x"}, {{9, 3}}),
            "input \"x\": got [9, 3]; axis 0 is 9, the engine was built for 1..4 (bundle a.attn, engine e). Build it for more: attn-run "
            "compile a.attn --minShapes x:1x3 --optShapes x:1x3 --maxShapes x:9x3");
  EXPECT_EQ(told({kLarge, kSmall}, {"x"}, {{99, 3}}),
            "input \"x\": got [99, 3]; axis 0 is 99, the engine was built for 1..4, 2..64 (in several profiles) (bundle a.attn, engine e). "
            "Build it for more: attn-run compile a.attn --minShapes x:1x3 --optShapes x:32x3 --maxShapes x:99x3");
  const TrtProfile two{{{1}, {1}, {4}}, {{2}, {2}, {2}}, {{1}, {2}, {3}}};
  EXPECT_EQ(told({two}, {"x", "fixed", "y"}, {{2}, {2}, {7}}),
            "input \"y\": got [7]; axis 0 is 7, the engine was built for 1..3 (bundle a.attn, engine e). Build it for more: attn-run compile "
            "a.attn --minShapes x:1,y:1 --optShapes x:1,y:2 --maxShapes x:4,y:7");
  EXPECT_NE(raised([&] { choose_profile({}, {"x"}, {{1}}, "w", "c"); }, ATTN_ERROR_BACKEND), "");
}

}  // namespace
}  // namespace attn
