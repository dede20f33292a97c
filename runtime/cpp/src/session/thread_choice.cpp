#include "session/thread_choice.h"

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <string>
#include <system_error>
#include <utility>

#include "util/forks.h"

namespace attn {
namespace {

using Clock = std::chrono::steady_clock;

// Of a core, what others may take of it before it counts as theirs.
constexpr double kSpare = 0.3;

// Engines that are being opened beside calls. The end of the process waits for them: what they use of their libraries goes then.
class Openings {
 public:
  Openings() {
    std::atexit([] { of_this_process<Openings>().wait(); });
  }
  void begin() {
    const std::lock_guard<std::mutex> only(mutex_);
    ++count_;
  }
  void end() {
    const std::lock_guard<std::mutex> only(mutex_);
    --count_;
    ended_.notify_all();
  }

 private:
  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    ended_.wait(lock, [&] { return count_ == 0; });
  }

  std::mutex mutex_;
  std::condition_variable ended_;
  int count_ = 0;
};

class Call : public BoundCall {
 public:
  Call(ThreadChoice& choice, Engine& first, const std::vector<View>& inputs, const std::vector<View>& outputs)
      : choice_(choice), inputs_(inputs), outputs_(outputs) {
    calls_[&first] = first.bind(inputs, outputs);
  }

  void run() override {
    Engine& engine = choice_.now();
    std::unique_ptr<BoundCall>& call = calls_[&engine];
    if (!call) call = engine.bind(inputs_, outputs_);
    call->run();
  }

 private:
  ThreadChoice& choice_;
  const std::vector<View> inputs_, outputs_;
  std::map<Engine*, std::unique_ptr<BoundCall>> calls_;
};

}  // namespace

Way way_for(std::optional<double> free, int cores, bool sleeping) {
  if (!free || *free >= cores - kSpare) return {cores};
  const int fit = static_cast<int>(*free + kSpare);
  if (fit < 1) return sleeping ? Way{cores, true} : Way{1};
  int power = 1;
  while (power * 2 <= fit) power *= 2;
  return {fit >= cores - 1 ? fit : power};
}

ThreadChoice::ThreadChoice(std::unique_ptr<Engine> first, int cores, bool sleeping, OpenWay open_way,
                           std::function<std::optional<double>()> free, Clock::duration look)
    : cores_(cores), sleeping_(sleeping), open_way_(std::move(open_way)), free_(std::move(free)), look_(look), first_(*first), using_(first.get()),
      next_(Clock::now()) {
  note = (first->note.empty() ? "" : first->note + "; ") + "as many of " + std::to_string(cores) + " threads as cores are free";
  engines_[{cores}] = std::move(first);
}

std::unique_ptr<BoundCall> ThreadChoice::bind(const std::vector<View>& inputs, const std::vector<View>& outputs) {
  return std::make_unique<Call>(*this, first_, inputs, outputs);
}

Engine& ThreadChoice::now() {
  if (const auto time = Clock::now(); time >= next_.load(std::memory_order_relaxed)) {
    if (const std::unique_lock<std::mutex> only(mutex_, std::try_to_lock); only) {
      next_ = time + look_;
      choose(way_for(free_(), cores_, sleeping_));
    }
  }
  return *using_;
}

void ThreadChoice::wait() {
  if (thread_.joinable()) thread_.join();
}

void ThreadChoice::choose(const Way& way) {
  if (const auto found = engines_.find(way); found != engines_.end()) {
    if (found->second) using_ = found->second.get();
    return;
  }
  if (opening_) return;
  wait();  // for one that is about to return
  auto& openings = of_this_process<Openings>();
  openings.begin();
  try {
    thread_ = std::thread([this, way, &openings] {
      open(way);
      openings.end();
    });
    opening_ = true;
  } catch (const std::system_error&) {  // the process has no room for a thread
    openings.end();
    engines_[way] = nullptr;
  }
}

// Calls go on meanwhile, and take it from their next look on.
void ThreadChoice::open(const Way& way) {
  std::unique_ptr<Engine> made;
  try {
    made = open_way_(way);
  } catch (const std::exception&) {  // the files are not there any more, or another export's: what is open stays good
  }
  const std::lock_guard<std::mutex> only(mutex_);
  engines_[way] = std::move(made);
  opening_ = false;
}

OpenWay opens_again(Backend& backend, const GraphFile& graph, const OpenOptions& options) {
  return [&backend, graph, options](const Way& way) {
    OpenOptions wanted = options;
    // With a number, ONNX Runtime pins no thread to a core, which would wait there for whoever has it.
    wanted.threads = way.threads, wanted.share_cores = way.sleeping;
    return graph.bundle->files->read(graph.files(), [&] { return backend.open(graph, "cpu", wanted); });
  };
}

std::unique_ptr<Engine> as_free(std::unique_ptr<Engine> first, Backend& backend, const GraphFile& graph, const OpenOptions& options) {
  const std::optional<Cores> cores = own_cores();
  if (!cores || cores->usable == 1) return first;
  return std::make_unique<ThreadChoice>(std::move(first), cores->usable, backend.shares_cores(), opens_again(backend, graph, options),
                                        [&free = of_this_process<FreeCores>()] { return free.now(); });
}

}  // namespace attn
