// What a child of a fork finds of its parent's locks and threads.
#include "util/forks.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "support/child.h"
#include "support/scratch.h"

namespace attn {
namespace {

TEST(Forks, AChildIsAnotherProcess) {
  const Process here;
  EXPECT_TRUE(here.is_this());
  here.require("session", "bundle a.attn");
  EXPECT_TRUE(in_a_child([&] {
    const std::string told = raised([&] { here.require("session", "bundle a.attn"); }, ATTN_ERROR_USAGE);
    return !here.is_this() && Process().is_this() &&
           told == "the session on bundle a.attn was opened before a fork; open it after the fork, in the process that uses it";
  }));
  EXPECT_TRUE(in_a_child([&] { return in_a_child([&] { return !here.is_this(); }); }));
  EXPECT_TRUE(here.is_this());
}

TEST(Forks, WaitForMutexesAndForWorkThatNoChildCouldEnd) {
  static auto& mutex = *new ForkMutex;
  std::atomic<bool> locked{false}, done{false};
  for (const bool with_mutex : {true, false}) {
    locked = done = false;
    std::thread holder([&] {
      const auto hold = [&] {
        locked = true;
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        done = true;
      };
      if (with_mutex) {
        const std::lock_guard<ForkMutex> only(mutex);
        hold();
      } else {
        const BeforeForks working;
        hold();
      }
    });
    while (!locked) std::this_thread::yield();
    EXPECT_TRUE(in_a_child([&] {
      const std::lock_guard<ForkMutex> only(mutex);
      const BeforeForks working;
      return done.load();
    }));
    holder.join();
    const std::lock_guard<ForkMutex> only(mutex);  // the parent's is free too
    const BeforeForks working;
  }
}

}  // namespace
}  // namespace attn
