// ATTN_THREADS_AUTO: as many threads as there are cores that nobody else wants. Why that pays says the Python twin,
// attn_runtime/session/thread_choice.py.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "engine/engine.h"
#include "session/free_cores.h"

namespace attn {

// How many threads one node may use, and whether they sleep between the nodes.
struct Way {
  int threads;
  bool sleeping = false;

  bool operator==(const Way& other) const { return threads == other.threads && sleeping == other.sleeping; }
  bool operator<(const Way& other) const { return threads != other.threads ? threads < other.threads : sleeping < other.sleeping; }
};

// For `cores` that may be used, of which `free` are: all, one less, or a power of two, so that few engines do for all. `sleeping` says whether
// threads can be told to. None is not known: all.
Way way_for(std::optional<double> free, int cores, bool sleeping);

using OpenWay = std::function<std::unique_ptr<Engine>(const Way&)>;

// Engines of one graph, by one backend, of which calls take the one for the cores that are free. The first has all threads; `open_way` opens
// another beside the calls, once it is wanted, and may raise: then that one is not taken. Its bound calls do not outlive it; they bind to
// an engine when they first take it.
class ThreadChoice : public Engine {
 public:
  ThreadChoice(std::unique_ptr<Engine> first, int cores, bool sleeping, OpenWay open_way, std::function<std::optional<double>()> free,
               std::chrono::steady_clock::duration look = kLook);
  ~ThreadChoice() override { wait(); }

  void run(const std::vector<View>& inputs, std::vector<Output>& outputs) override { now().run(inputs, outputs); }
  std::unique_ptr<BoundCall> bind(const std::vector<View>& inputs, const std::vector<View>& outputs) override;

  // The engine for now.
  Engine& now();
  // Waits for an engine that is being opened. Not beside calls.
  void wait();

 private:
  void choose(const Way& way);
  void open(const Way& way);

  const int cores_;
  const bool sleeping_;
  const OpenWay open_way_;
  const std::function<std::optional<double>()> free_;
  const std::chrono::steady_clock::duration look_;
  Engine& first_;
  std::atomic<Engine*> using_;
  std::atomic<std::chrono::steady_clock::time_point> next_;
  std::mutex mutex_;  // of what follows
  std::map<Way, std::unique_ptr<Engine>> engines_;  // none where it did not open
  bool opening_ = false;
  std::thread thread_;
};

// Opens a graph again on the CPU, from what was there when it was opened first; bundle_error where it is another export's by then.
OpenWay opens_again(Backend& backend, const GraphFile& graph, const OpenOptions& options);

// The engine, and others of fewer threads when they are needed, as one; as it is where the process may keep one core busy.
std::unique_ptr<Engine> as_free(std::unique_ptr<Engine> first, Backend& backend, const GraphFile& graph, const OpenOptions& options);

}  // namespace attn
