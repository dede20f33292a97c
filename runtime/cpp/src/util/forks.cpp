#include "util/forks.h"

#include <pthread.h>

#include <chrono>
#include <condition_variable>
#include <vector>

#include "util/error.h"

namespace attn {

std::atomic<unsigned> forks{0};

namespace {

struct Known {
  std::mutex mutex;  // of the list
  std::vector<ForkMutex*> all;
};

Known& known() {
  static auto* made = new Known;
  return *made;
}

struct Work {
  std::mutex mutex;
  std::condition_variable* done = new std::condition_variable;  // forks alone wait for it
  int threads = 0;
};

Work& work() {
  static auto* made = new Work;
  return *made;
}

void before_fork() {
  known().mutex.lock();
  for (ForkMutex* each : known().all) each->lock();
  std::unique_lock<std::mutex> lock(work().mutex);
  work().done->wait_for(lock, std::chrono::minutes(1), [] { return work().threads == 0; });
  static_cast<void>(lock.release());  // until the fork is over
}

void after_fork() {
  work().mutex.unlock();
  for (auto each = known().all.rbegin(); each != known().all.rend(); ++each) (*each)->unlock();
  known().mutex.unlock();
}

void after_fork_in_child() {
  forks.fetch_add(1, std::memory_order_relaxed);
  work().threads = 0;
  work().done = new std::condition_variable;  // another thread may have waited for the old one
  after_fork();
}

[[maybe_unused]] const int registered = pthread_atfork(before_fork, after_fork, after_fork_in_child);

}  // namespace

void Process::refuse(const char* what, const std::string& where) {
  throw usage_error(std::string("the ") + what + " on " + where +
                    " was opened before a fork; open it after the fork, in the process that uses it");
}

BeforeForks::BeforeForks() {
  const std::lock_guard<std::mutex> only(work().mutex);
  ++work().threads;
}

BeforeForks::~BeforeForks() {
  const std::lock_guard<std::mutex> only(work().mutex);
  if (work().threads > 0) --work().threads;
  work().done->notify_all();
}

ForkMutex::ForkMutex() {
  const std::lock_guard<std::mutex> only(known().mutex);
  known().all.push_back(this);
}

}  // namespace attn
