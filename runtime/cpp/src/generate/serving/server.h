// The thread that reads prompts and takes steps while there are requests. The Python twin is attn_runtime/generate/serving/server.py.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "generate/graphs/prompt_slices.h"
#include "generate/graphs/slots.h"
#include "generate/graphs/step_graphs.h"
#include "generate/serving/request.h"
#include "generate/serving/turns.h"

namespace attn {

// What requests to one generator may take up at a time.
struct RequestLimits {
  size_t rows = 64;       // how many are written at once, as far as the graphs take so many
  size_t waiting = 1024;  // how many more there may be, which wait; a further one is refused
  uint64_t memory = 0;    // bytes of the buffers that they share, and half as much again while they grow; 0: as `rows` sets them
};

// Requests, first come, first served, in rows of one step that they share. The thread lives while there are requests. Where somebody else
// wants the graphs, it lets go of them after a step, and when it gets them back it keeps them for as long as it waited.
class Server {
 public:
  Server(std::shared_ptr<const GraphIO> graph_io, const Sessions& sessions, std::shared_ptr<Turns> turns, const RequestLimits& limits);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  const std::string& where() const { return graph_io_->where; }
  // Whether it is the calling thread that takes the steps.
  bool here() const { return worker_ == std::this_thread::get_id(); }
  CarriedShapes shapes_of(const Prompt& prompt) const { return slots_.shapes_of(views_of(prompt.source)); }
  // Raises input_error for a request that would never fit into the memory, usage_error where too many are there, and once it is closed.
  void submit(const std::shared_ptr<Request>& request);
  // One that is over waits no longer.
  void forget(const Request& request);
  // End all requests with an error, and the thread.
  void close();

 private:
  struct Running {
    std::shared_ptr<Request> request;
    int64_t token;  // that it is fed next
  };

  void check_memory(const Request& request) const;
  void work();
  void run(Clock::duration owed);
  void let_go();
  void leave(size_t row);
  void read_prompts();
  bool read(const std::shared_ptr<Request>& request);
  size_t width_of(size_t count) const;
  StepGraphs& step_graphs(const Prompt& prompt, size_t width);
  void step();
  void fail(const std::vector<std::shared_ptr<Request>>& requests, const std::exception_ptr& error);
  std::vector<std::shared_ptr<Request>> all();

  Process process_;
  std::shared_ptr<const GraphIO> graph_io_;
  Sessions sessions_;
  std::shared_ptr<Turns> turns_;
  RequestLimits limits_;
  size_t most_;
  Slots slots_;
  LatestStepGraphs step_graphs_{8};  // for prompts of one row
  PromptSlices slices_;
  std::shared_ptr<Request> reading_;  // whose prompt was read in part; it waits in front
  Clock::duration step_time_{};
  std::atomic<std::thread::id> worker_{};
  std::mutex mutex_;  // of what follows
  std::vector<Running> running_;  // changed by the thread alone
  std::deque<std::shared_ptr<Request>> waiting_;
  std::unique_ptr<std::thread> thread_;
  bool working_ = false;
  std::atomic<bool> closed_{false};
};

}  // namespace attn
