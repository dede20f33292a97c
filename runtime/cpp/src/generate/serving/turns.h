// Who has the graphs of a generator: one thread after the other, in the order in which they asked. The Python twin is
// attn_runtime/generate/serving/turns.py.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

namespace attn {

class Turns {
 public:
  void take();
  void give();
  bool mine() const { return holder_ == std::this_thread::get_id(); }  // whether the calling thread has it
  bool wanted() const { return asked_ > given_ + 1; }                  // whether somebody waits for it

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<uint64_t> asked_{0}, given_{0};
  std::atomic<std::thread::id> holder_{};
};

}  // namespace attn
