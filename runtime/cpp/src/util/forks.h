// What a fork leaves behind: a child has the memory of its parent and none of its threads. An engine that was opened before can't run there,
// and letting go of it would wait for its threads for ever.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace attn {

// How often this process, and those that it was forked from, were children of a fork since this library was loaded.
extern std::atomic<unsigned> forks;

// The process in which this was made.
class Process {
 public:
  bool is_this() const { return made_ == forks.load(std::memory_order_relaxed); }
  // usage_error where a fork lies between. `what` is "session" or "generator", `where` what was opened.
  void require(const char* what, const std::string& where) const {
    if (!is_this()) refuse(what, where);
  }

 private:
  [[noreturn]] static void refuse(const char* what, const std::string& where);
  unsigned made_ = forks.load(std::memory_order_relaxed);
};

// Never let go of it in this process: a child can't destroy what threads of its parent wait for.
template <typename T>
void abandon(std::shared_ptr<T> thing) {
  static_cast<void>(new std::shared_ptr<T>(std::move(thing)));
}

// A mutex that is free in every child: a fork waits for whoever holds it. For statics, which are never destroyed, and what is not held while
// another one is taken.
class ForkMutex {
 public:
  ForkMutex();
  ForkMutex(const ForkMutex&) = delete;
  ForkMutex& operator=(const ForkMutex&) = delete;

  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

// The one T of this process, which is never destroyed; a child of a fork makes its own.
template <typename T>
T& of_this_process() {
  static auto& mutex = *new ForkMutex;
  static auto& made = *new std::pair<Process, T*>;
  const std::lock_guard<ForkMutex> only(mutex);
  if (!made.second || !made.first.is_this()) made = {Process(), new T};
  return *made.second;
}

// Work that a fork waits for, up to a minute: what it holds inside a library, which no child could ever give back. Threads do it side by side,
// each for as long as it has one of these.
class BeforeForks {
 public:
  BeforeForks();
  ~BeforeForks();
  BeforeForks(const BeforeForks&) = delete;
  BeforeForks& operator=(const BeforeForks&) = delete;
};

}  // namespace attn
