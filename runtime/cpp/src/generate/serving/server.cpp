#include "generate/serving/server.h"

#include <algorithm>
#include <utility>

#include "util/error.h"

namespace attn {
namespace {

// Prompts of a decoder-only model are padded to a multiple of so many tokens, since a new shape has to be bound.
constexpr size_t width_step = 8;

size_t most_rows(const GraphIO& graph_io, const RequestLimits& limits) {
  if (graph_io.one_place) return 1;  // all rows would stand at one place
  return std::min(limits.rows, static_cast<size_t>(graph_io.step.input("token")->dims[0].max));
}

}  // namespace

Server::Server(std::shared_ptr<const GraphIO> graph_io, const Sessions& sessions, std::shared_ptr<Turns> turns, const RequestLimits& limits)
    : graph_io_(std::move(graph_io)),
      sessions_(sessions),
      turns_(std::move(turns)),
      limits_(limits),
      most_(most_rows(*graph_io_, limits)),
      slots_(graph_io_, sessions.step, most_, limits.memory),
      slices_(graph_io_, sessions) {}

Server::~Server() {
  if (!process_.is_this()) {
    static_cast<void>(thread_.release());  // no thread of a child's
  } else if (thread_ && thread_->joinable()) {
    thread_->join();
  }
}

void Server::submit(const std::shared_ptr<Request>& request) {
  check_memory(*request);
  const std::lock_guard<std::mutex> lock(mutex_);
  if (closed_) throw usage_error("the generator on " + where() + " is closed; open another");
  const size_t there = waiting_.size() + running_.size();
  if (there >= most_ + limits_.waiting) {
    throw usage_error(std::to_string(there) + " requests are there already, expected " + std::to_string(most_) + " under way and " +
                      std::to_string(limits_.waiting) + " waiting at most; wait for one of them, or allow more (" + where() + ")");
  }
  waiting_.push_back(request);
  if (working_) return;
  if (thread_) thread_->join();  // it is about to return
  working_ = true;
  thread_ = std::make_unique<std::thread>(&Server::work, this);
}

void Server::check_memory(const Request& request) const {
  const std::vector<size_t> entries = {request.prompt.entries()};
  if (slots_.fit(entries, {request.shapes})) return;
  throw input_error("the request has up to " + std::to_string(entries[0] + 1) + " tokens, which take " +
                    std::to_string(slots_.bytes(*slots_.room_for(entries, {request.shapes}))) + " bytes; the memory of requests is " +
                    std::to_string(limits_.memory) + ": give a lower max_length, or more memory (" + where() + ")");
}

void Server::forget(const Request& request) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = std::find_if(waiting_.begin(), waiting_.end(), [&](const auto& each) { return each.get() == &request; });
  if (found != waiting_.end()) waiting_.erase(found);
}

void Server::close() {
  if (!process_.is_this()) return;
  std::unique_ptr<std::thread> thread;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    closed_ = true;
    thread = std::move(thread_);
  }
  const auto error =
      std::make_exception_ptr(usage_error("the generator on " + where() + " was closed before the request had its answer; open another"));
  fail(all(), error);
  if (thread) thread->join();
  fail(all(), error);
  running_.clear();
  reading_ = nullptr;
  slots_.clear();
  slices_.clear();
  step_graphs_.clear();
}

std::vector<std::shared_ptr<Request>> Server::all() {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::shared_ptr<Request>> found(waiting_.begin(), waiting_.end());
  for (const Running& each : running_) found.push_back(each.request);
  return found;
}

void Server::fail(const std::vector<std::shared_ptr<Request>>& requests, const std::exception_ptr& error) {
  for (const auto& request : requests) request->fail(error);
}

void Server::work() {
  worker_ = std::this_thread::get_id();
  while (true) {
    const auto asked = Clock::now();
    turns_->take();
    try {
      run(Clock::now() - asked);
    } catch (...) {  // of the graphs: nobody may wait for ever
      std::vector<std::shared_ptr<Request>> lost;
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        for (Running& each : running_) lost.push_back(std::move(each.request));
        running_.clear();
      }
      fail(lost.empty() ? all() : lost, std::current_exception());
      slots_.clear();
    }
    turns_->give();
    const std::lock_guard<std::mutex> lock(mutex_);
    if (closed_ || (waiting_.empty() && running_.empty())) {
      worker_ = std::thread::id();
      working_ = false;
      return;
    }
  }
}

// Until there is nothing to do, or somebody else wants the graphs and what is owed was had.
void Server::run(Clock::duration owed) {
  const auto started = Clock::now();
  while (!closed_) {
    let_go();
    read_prompts();
    if (!running_.empty()) {
      step();
    } else {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (waiting_.empty()) return;
    }
    if (turns_->wanted() && Clock::now() - started >= owed) return;
  }
}

// Of rows that are over, and of requests that had no time to begin.
void Server::let_go() {
  for (size_t row = running_.size(); row-- > 0;) {
    if (running_[row].request->expired()) leave(row);
  }
  std::vector<std::shared_ptr<Request>> late;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto now = Clock::now();
    for (const auto& each : waiting_) {
      if (each->expires && *each->expires <= now) late.push_back(each);
    }
  }
  for (const auto& each : late) each->expired();
}

void Server::leave(size_t row) {
  slots_.leave(row);
  const std::lock_guard<std::mutex> lock(mutex_);
  std::swap(running_[row], running_.back());
  running_.pop_back();
}

// Of those that have waited longest, as many as fit. Where rows are under way, one, or as many as take no longer together than a step does, and
// no more than one slice: so long a row waits at most, beside the step itself.
void Server::read_prompts() {
  const auto until = Clock::now() + step_time_;
  for (bool first = true; first || running_.empty() || Clock::now() < until; first = false) {
    std::shared_ptr<Request> request;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!waiting_.empty()) request = waiting_.front();
    }
    if (request != reading_) reading_ = nullptr;  // it is over
    if (!request || running_.size() == most_) return;
    std::vector<size_t> entries = {request->prompt.entries()};
    std::vector<CarriedShapes> shapes = {request->shapes};
    for (const Running& each : running_) {
      entries.push_back(each.request->prompt.entries());
      shapes.push_back(each.request->shapes);
    }
    if (!slots_.fit(entries, shapes) || read(request)) return;
  }
}

// Its prompt, or a slice of it, which answers true: where rows are under way when it is begun, and from then on. Behind its end, its first
// token, and a row of its own where more follow.
bool Server::read(const std::shared_ptr<Request>& request) {
  const Prompt& prompt = request->prompt;
  const size_t length = prompt.tokens.size();
  const bool sliced = reading_ != nullptr;
  try {
    StepGraphs* graphs = nullptr;
    Logits logits;
    if (sliced) {
      logits = slices_.read(prompt.tokens);
      if (slices_.place() < length) return true;
    } else {
      const size_t count = running_.empty() ? length : slices_.first(length);
      std::vector<int64_t> tokens(prompt.tokens.data(), prompt.tokens.data() + count);
      tokens.resize(width_of(count), graph_io_->pad);
      graphs = &step_graphs(prompt, tokens.size());
      logits = graphs->read(views_of(prompt.source), tokens.data(), {count});
      if (count < length) {
        slices_.begin(graphs->prompt(), count, length);
        reading_ = request;
        return true;
      }
    }
    const auto [token, going] = request->take(logits);
    if (going) {
      if (graphs) {
        slots_.join(graphs->prompt(), graphs->carried(), length, request->shapes);
      } else {
        slots_.join(slices_.prompt(), {}, length, request->shapes);
      }
      const std::lock_guard<std::mutex> lock(mutex_);
      running_.push_back({request, token});
    }
  } catch (...) {
    request->fail(std::current_exception());
  }
  forget(*request);
  return sliced;
}

// That `first` reads so many tokens in.
size_t Server::width_of(size_t count) const {
  if (graph_io_->encoder || graph_io_->one_place) return count;
  const Dim& dim = graph_io_->first.input("tokens")->dims[1];
  return std::clamp((count + width_step - 1) / width_step * width_step, static_cast<size_t>(dim.min), static_cast<size_t>(dim.max));
}

StepGraphs& Server::step_graphs(const Prompt& prompt, size_t width) {
  PromptShape shape{1, 1, width, {}};
  for (const auto& [name, tensor] : prompt.source) shape.source[name] = tensor.shape;
  return step_graphs_.of(graph_io_, sessions_, std::move(shape));
}

void Server::step() {
  const auto started = Clock::now();
  std::vector<int64_t> tokens;
  for (const Running& each : running_) tokens.push_back(each.token);
  const Logits logits = slots_.step(tokens);
  std::vector<size_t> over;
  for (size_t row = 0; row < running_.size(); ++row) {
    const auto [token, going] = running_[row].request->take(logits.only(row));
    running_[row].token = token;
    if (!going) over.push_back(row);
  }
  step_time_ = Clock::now() - started;
  for (auto row = over.rbegin(); row != over.rend(); ++row) leave(*row);
}

}  // namespace attn
