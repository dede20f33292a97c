#include "trt/engine.h"

#include <condition_variable>
#include <cstring>
#include <utility>

#include "trt/stream.h"
#include "util/error.h"

namespace attn {
namespace {

// As many calls as run at once; further threads wait. Each takes memory for every tensor on both sides.
constexpr size_t kMostLanes = 4;

class Streams {
 public:
  explicit Streams(std::shared_ptr<const TrtOpened> opened) : opened_(std::move(opened)) {}

  // A stream for one call; it comes back when the call is over.
  class Lent {
   public:
    Lent(Streams& streams, std::unique_ptr<TrtStream> stream) : streams_(streams), stream_(std::move(stream)) {}
    ~Lent() {
      {
        const std::lock_guard<std::mutex> only(streams_.mutex_);
        streams_.idle_.push_back(std::move(stream_));  // has room for all of them
      }
      streams_.back_.notify_one();
    }
    Lent(const Lent&) = delete;
    Lent& operator=(const Lent&) = delete;
    TrtStream* operator->() const { return stream_.get(); }

   private:
    Streams& streams_;
    std::unique_ptr<TrtStream> stream_;
  };

  Lent take() {
    std::unique_lock<std::mutex> lock(mutex_);
    back_.wait(lock, [&] { return !idle_.empty() || made_ < kMostLanes; });
    if (idle_.empty()) {
      idle_.reserve(kMostLanes);
      idle_.push_back(std::make_unique<TrtStream>(opened_));
      ++made_;
    }
    std::unique_ptr<TrtStream> stream = std::move(idle_.back());
    idle_.pop_back();
    return {*this, std::move(stream)};
  }

 private:
  std::shared_ptr<const TrtOpened> opened_;
  std::mutex mutex_;
  std::condition_variable back_;
  std::vector<std::unique_ptr<TrtStream>> idle_;
  size_t made_ = 0;
};

void copy_answer(const TrtOpened& opened, const TrtStream& stream, size_t output, const View& to) {
  if (stream.shape(output) != to.shape) {
    throw input_error(opened.where + ": " + opened.outputs[output].name + " has shape " + text(stream.shape(output)) +
                      " for these values, and there is room for " + text(to.shape) + ". Call run without buffers of your own.");
  }
  if (const size_t bytes = to.bytes()) std::memcpy(to.data, stream.data(output), bytes);
}

class TrtCall : public BoundCall {
 public:
  TrtCall(std::shared_ptr<const TrtOpened> opened, std::vector<View> inputs, std::vector<View> outputs)
      : opened_(std::move(opened)), stream_(opened_), inputs_(std::move(inputs)), outputs_(std::move(outputs)) {
    // Memory and kernels for these shapes, before the first call. Where values decide on shapes, those are not there yet.
    for (const TrtTensor& input : opened_->inputs) {
      if (input.on_host) return;
    }
    stream_.run(inputs_);
  }

  void run() override {
    stream_.run(inputs_);
    for (size_t i = 0; i < outputs_.size(); ++i) copy_answer(*opened_, stream_, i, outputs_[i]);
  }

 private:
  std::shared_ptr<const TrtOpened> opened_;
  TrtStream stream_;
  std::vector<View> inputs_, outputs_;
};

class TrtEngine : public Engine {
 public:
  explicit TrtEngine(std::shared_ptr<TrtOpened> opened) : opened_(opened), streams_(std::move(opened)) {
    if (std::string(opened_->plugin.flavour) == "rtx") note = "compiles the kernels of each new shape once in every process";
  }

  void run(const std::vector<View>& inputs, std::vector<Output>& outputs) override {
    const Streams::Lent stream = streams_.take();
    stream->run(inputs);
    for (size_t i = 0; i < outputs.size(); ++i) {
      Output& output = outputs[i];
      if (!output.wanted) continue;
      if (!output.view.data) {
        output.made = Tensor(opened_->outputs[i].name, opened_->outputs[i].dtype, stream->shape(i));
        output.view = output.made.view();
      }
      copy_answer(*opened_, *stream.operator->(), i, output.view);
    }
  }

  std::unique_ptr<BoundCall> bind(const std::vector<View>& inputs, const std::vector<View>& outputs) override {
    return std::make_unique<TrtCall>(opened_, inputs, outputs);
  }

 private:
  std::shared_ptr<TrtOpened> opened_;
  Streams streams_;
};

}  // namespace

std::unique_ptr<Engine> make_trt_engine(std::shared_ptr<TrtOpened> opened) { return std::make_unique<TrtEngine>(std::move(opened)); }

}  // namespace attn
