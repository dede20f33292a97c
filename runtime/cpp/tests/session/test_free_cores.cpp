// How many cores others leave, from what Linux says of processor time.
#include "session/free_cores.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <thread>

#include "support/child.h"
#include "support/scratch.h"
#include "util/forks.h"

namespace attn {
namespace {

// Its /proc/stat, its clock, and the processor time of this process. All cores are idle at first.
class Machine {
 public:
  explicit Machine(int cores = 2, std::set<int> allowed = {0, 1}) : allowed_(std::move(allowed)) {
    for (int core = 0; core < cores; ++core) busy_[core] = 10;
    passes(0, 0, {});
  }

  // So much time, of which this process and others have had some; ours is on the first cores.
  void passes(double seconds, double own, const std::map<int, double>& others) {
    time += seconds, own_ += own;
    double all = 0;
    for (auto& [core, busy] : busy_) {
      const double ours = std::min(own, seconds);
      own -= ours;
      busy += ours + (others.count(core) ? others.at(core) : 0);
      all += busy;
    }
    std::string text = line("cpu", all, time * static_cast<double>(busy_.size()));
    for (const auto& [core, busy] : busy_) text += line("cpu" + std::to_string(core), busy, time);
    stat(text + "intr 12 0\nctxt 34\n");
  }
  void stat(const std::string& text) const { scratch_.write("proc/stat", text); }

  FreeCores free() {
    return FreeCores(scratch_.path(), [this] { return time; }, [this] { return own_; }, [this] { return allowed_; });
  }

  double time = 100;

 private:
  // Half of it as user's, the rest as interrupts; idle and iowait fill up, and guests are counted twice.
  static std::string line(const std::string& name, double busy, double time) {
    const auto hertz = static_cast<double>(sysconf(_SC_CLK_TCK));
    const long ticks = std::lround(busy * hertz), idle = std::lround(time * hertz) - ticks;
    const auto n = [](long number) { return " " + std::to_string(number); };
    return name + n(ticks / 2) + n(0) + n(0) + n(idle - 5) + n(5) + n(ticks - ticks / 2) + n(0) + n(0) + n(ticks / 3) + n(0) + "\n";
  }

  Scratch scratch_;
  std::set<int> allowed_;
  std::map<int, double> busy_;
  double own_ = 5;
};

constexpr double kTick = 0.05;

TEST(FreeCores, WhatThisProcessTakesLeavesThemFree) {
  Machine machine;
  FreeCores free = machine.free();
  EXPECT_EQ(free.now(), std::nullopt);  // no time has passed
  machine.passes(1, 2, {});
  EXPECT_NEAR(free.now().value(), 2, 1e-9);
}

TEST(FreeCores, WhatOthersTakeDoesNot) {
  for (const auto& [own, theirs, left] : {std::tuple{1.4, 0.6, 1.4}, {1.0, 1.0, 1.0}, {0.3, 1.7, 0.3}, {0.0, 0.0, 2.0}}) {
    Machine machine;
    FreeCores free = machine.free();
    machine.passes(1, own, {{0, theirs / 2}, {1, theirs / 2}});
    EXPECT_NEAR(free.now().value(), left, kTick) << theirs;
  }
}

TEST(FreeCores, ACoreIsFreeAgainWhenItWasTwice) {
  Machine machine;
  FreeCores free = machine.free();
  machine.passes(1, 1, {{1, 1.0}});
  EXPECT_NEAR(free.now().value(), 1, kTick);
  for (const double left : {1.0, 2.0}) {
    machine.passes(1, 1, {});
    EXPECT_NEAR(free.now().value(), left, kTick);
  }
  machine.passes(1, 1, {{1, 1.0}});
  EXPECT_NEAR(free.now().value(), 1, kTick);
}

TEST(FreeCores, AreNotLookedAtMoreOftenThanTimeIsCounted) {
  Machine machine;
  FreeCores free = machine.free();
  machine.passes(1, 1, {});
  EXPECT_NEAR(free.now().value(), 2, 1e-9);
  machine.passes(0.125, 0, {{0, 0.1}});
  EXPECT_NEAR(free.now().value(), 2, 1e-9);
}

TEST(FreeCores, OthersOnCoresThatAreNotOursTakeNothing) {
  Machine machine(4);
  FreeCores free = machine.free();
  machine.passes(1, 2, {{2, 1.0}, {3, 1.0}});
  EXPECT_NEAR(free.now().value(), 2, kTick);
}

TEST(FreeCores, CoresThatAreCalledOtherwiseAreCountedTogether) {
  Machine machine(2, {6, 7, 8});
  FreeCores free = machine.free();
  machine.passes(1, 1, {{1, 1.0}});
  EXPECT_NEAR(free.now().value(), 1, kTick);
}

TEST(FreeCores, WhereTheSystemDoesNotSayNothingIsKnown) {
  for (const char* content : {"", "cpu  1 2 3\n", "cpu a b c d e f g h\n", "intr 1 2 3 4 5 6 7 8\n"}) {
    Machine machine;
    machine.stat(content);
    FreeCores free = machine.free();
    machine.time += 1;
    EXPECT_EQ(free.now(), std::nullopt) << content;
  }
  EXPECT_EQ(FreeCores("/nothing/is/here").now(), std::nullopt);
}

TEST(FreeCores, ThisMachineSaysIt) {
  FreeCores free;
  std::optional<double> found;
  for (int tries = 0; tries < 1000 && !found; ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    found = free.now();
  }
  ASSERT_NE(found, std::nullopt);
  EXPECT_GE(*found, 0);
  EXPECT_LE(*found, static_cast<double>(allowed_cores().size()));
}

TEST(FreeCores, AProcessHasOneAndItsChildAnother) {
  FreeCores& ours = of_this_process<FreeCores>();
  EXPECT_EQ(&ours, &of_this_process<FreeCores>());
  EXPECT_TRUE(in_a_child([&] { return &ours != &of_this_process<FreeCores>() && &of_this_process<FreeCores>() == &of_this_process<FreeCores>(); }));
  EXPECT_EQ(&ours, &of_this_process<FreeCores>());
}

}  // namespace
}  // namespace attn
