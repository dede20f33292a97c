#include "generate/serving/request.h"

#include <algorithm>

#include "generate/serving/server.h"
#include "util/error.h"

namespace attn {

std::optional<Clock::time_point> after(double seconds) {
  if (!(seconds < 1e8)) return std::nullopt;
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

Request::Request(std::shared_ptr<Server> server, Prompt given, std::unique_ptr<Row> row, std::function<bool(size_t, int64_t)> on_token,
                 std::optional<Clock::time_point> until)
    : prompt(std::move(given)),
      shapes(server->shapes_of(prompt)),
      expires(until),
      server_(std::move(server)),
      row_(std::move(row)),
      on_token_(std::move(on_token)) {}

std::optional<int64_t> Request::token(size_t number) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (number < tokens_.size()) return tokens_[number];
  if (error_) std::rethrow_exception(error_);
  return std::nullopt;
}

const Generated& Request::result() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (error_) std::rethrow_exception(error_);
  return result_;
}

std::pair<int64_t, bool> Request::take(const Logits& logits) {
  std::pair<int64_t, bool> next = {0, false};
  try {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (done_) return next;
      next = row_->take(logits);
      tokens_.push_back(next.first);
      calling_ = static_cast<bool>(on_token_);
      changed_.notify_all();
    }
    const bool goes_on = !on_token_ || on_token_(0, next.first);
    called();
    if (!goes_on) {
      end(next.second ? std::optional<Stopped>(Stopped::cancelled) : std::nullopt);
      return {next.first, false};
    }
  } catch (...) {  // of this request alone
    called();
    fail(std::current_exception());
    return {0, false};
  }
  if (!next.second) end(std::nullopt);
  return next;
}

bool Request::expired() {
  if (expires && Clock::now() >= *expires) end(Stopped::deadline);
  const std::lock_guard<std::mutex> lock(mutex_);
  return done_;
}

void Request::end(std::exception_ptr error, std::optional<Stopped> why) {
  if (!process_.is_this()) return;  // the parent's, whose thread may have the lock
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (done_) return;
    if (!error) result_ = row_->result(why);
    error_ = std::move(error);
    done_ = true;
    changed_.notify_all();
    over_.notify_all();
  }
  server_->forget(*this);
}

void Request::called() {
  const std::lock_guard<std::mutex> lock(mutex_);
  calling_ = false;
  changed_.notify_all();
}

void Request::close() {
  end(Stopped::cancelled);
  if (!process_.is_this() || server_->here()) return;
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [&] { return !calling_; });
}

bool Request::wait(size_t tokens, std::optional<Clock::time_point> until) {
  process_.require("generator", server_->where());
  std::unique_lock<std::mutex> lock(mutex_);
  const auto there = [&] { return done_ || tokens_.size() >= tokens; };
  if (!there() && server_->here()) {
    throw usage_error("a request to the generator on " + server_->where() +
                      " is waited for in on_token, by the thread that writes it; wait in another");
  }
  std::condition_variable& waited = tokens == static_cast<size_t>(-1) ? over_ : changed_;
  while (!there()) {
    std::optional<Clock::time_point> first = until;
    if (expires && (!first || *expires < *first)) first = expires;
    if (!first) {
      waited.wait(lock, there);
    } else if (!waited.wait_until(lock, *first, there)) {
      if (until && Clock::now() >= *until) return false;
      lock.unlock();
      expired();
      lock.lock();
    }
  }
  return true;
}

}  // namespace attn
