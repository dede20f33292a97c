#include "generate/serving/turns.h"

namespace attn {

void Turns::take() {
  std::unique_lock<std::mutex> lock(mutex_);
  const uint64_t mine = asked_++;
  changed_.wait(lock, [&] { return given_ == mine; });
  holder_ = std::this_thread::get_id();
}

void Turns::give() {
  const std::lock_guard<std::mutex> lock(mutex_);
  holder_ = std::thread::id();
  ++given_;
  changed_.notify_all();
}

}  // namespace attn
