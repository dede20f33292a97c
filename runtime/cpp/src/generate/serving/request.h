// One request to a running generator: its tokens as they come, its answer. The Python twin is attn_runtime/generate/serving/request.py.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "generate/graphs/logits.h"
#include "generate/graphs/slots.h"
#include "generate/serving/result.h"
#include "util/forks.h"

namespace attn {

using Clock = std::chrono::steady_clock;

// `seconds` from now on; none where that is later than anybody waits.
std::optional<Clock::time_point> after(double seconds);

// What one row begins with: the encoder's inputs of one row, the tokens, and how many may follow.
struct Prompt {
  Tensors source;
  std::vector<int64_t> tokens;
  size_t limit = 0;

  // Of the cache, when the answer is as long as it may be: its last token is never fed.
  size_t entries() const { return tokens.size() + limit - 1; }
};

// How the tokens of one row are chosen, and what is made of them. Used by one thread at a time.
class Row {
 public:
  virtual ~Row() = default;
  // The next token, and whether another one follows, by logits [1, vocabulary].
  virtual std::pair<int64_t, bool> take(const Logits& logits) = 0;
  // What was chosen until now; `why` says why no more was, none where the row ended by itself.
  virtual Generated result(std::optional<Stopped> why) = 0;
};

class Server;

class Request {
 public:
  // `on_token` may be empty; when it answers false the request is over.
  Request(std::shared_ptr<Server> server, Prompt prompt, std::unique_ptr<Row> row, std::function<bool(size_t, int64_t)> on_token,
          std::optional<Clock::time_point> expires);

  const Prompt prompt;
  const CarriedShapes shapes;
  const std::optional<Clock::time_point> expires;

  // Until it is over, or has so many tokens; false where that takes longer than until `until`.
  bool wait(size_t tokens, std::optional<Clock::time_point> until);
  // The token of this number, counted from 0, which was waited for; none where the answer has no so many. Raises what `result` does, behind
  // the tokens that there are.
  std::optional<int64_t> token(size_t number);
  // The answer of a request that is over. Raises what ended it.
  const Generated& result();
  // End it, and wait for on_token where another thread is in it: what that reads may go then.
  void close();
  void cancel() { end(Stopped::cancelled); }

  // The server's: the next token, and whether another one follows. What that raises ends the request.
  std::pair<int64_t, bool> take(const Logits& logits);
  // Whether it is over, as it is when it has no more time.
  bool expired();
  void end(std::optional<Stopped> why) { end(nullptr, why); }
  void fail(std::exception_ptr error) { end(std::move(error), std::nullopt); }

 private:
  void end(std::exception_ptr error, std::optional<Stopped> why);
  void called();

  Process process_;
  std::shared_ptr<Server> server_;
  std::unique_ptr<Row> row_;
  std::function<bool(size_t, int64_t)> on_token_;
  std::mutex mutex_;
  // Who waits for the whole answer sleeps until it is there: woken for each token, it would take turns with who writes them.
  std::condition_variable changed_, over_;
  std::vector<int64_t> tokens_;
  Generated result_;
  std::exception_ptr error_;
  bool done_ = false, calling_ = false;
};

}  // namespace attn
