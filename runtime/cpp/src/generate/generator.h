// Prompts in, tokens out. The Python twin is attn_runtime/generate/generator.py.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bundle/bundle.h"
#include "generate/graphs/graph_io.h"
#include "generate/graphs/step_graphs.h"
#include "generate/rules.h"
#include "generate/serving/request.h"
#include "generate/serving/result.h"
#include "generate/serving/server.h"
#include "generate/serving/turns.h"
#include "util/forks.h"

namespace attn {

class Answers;

// One call of `generate` at a time: that of another thread waits. Requests that are submitted are written together, and take turns with such
// calls.
class Generator {
 public:
  Generator() = default;
  ~Generator();
  Generator(const Generator&) = delete;
  Generator& operator=(const Generator&) = delete;

  // All graphs on one device. Raises bundle_error where the bundle has no generator, or graphs that do not fit together, and what
  // Session::open raises.
  static std::shared_ptr<Generator> open(std::shared_ptr<const Bundle> bundle, OpenOptions options);

  std::shared_ptr<const Bundle> bundle;
  std::shared_ptr<const GraphIO> graph_io;
  std::string backend, device, choice, passed_over;
  std::optional<std::string> precision;  // that was asked for

  // Answers for a batch of prompts: the encoder's inputs, or tokens int64 [rows, prompt], padded at the end, and tokens_mask bool of the same
  // shape, which may be left out where no row is padded. A row's answer does not depend on the rows beside it.
  Generated generate(const std::map<std::string, View>& inputs, const GenerateOptions& options);

  // Have one prompt answered beside others that were submitted. Inputs of one row, as `generate` takes them, with one beam. Its tokens are
  // those that `generate` gives for this prompt alone. `seconds` from now on it ends with the tokens that there are; 0 for no end.
  std::shared_ptr<Request> submit(const std::map<std::string, View>& inputs, const GenerateOptions& options, double seconds);
  // Before the first is submitted; usage_error behind it.
  void limit_requests(const RequestLimits& limits);

  // What `generate` does with these options: the bundle's defaults stand where they say nothing. Raises usage_error.
  Settings settings(const GenerateOptions& options) const;

  // What answers that are given would have scored by the bundle's rules, where `max_length` was asked for, and how far the furthest of a
  // row's tokens is behind the likeliest one there, in logits.
  struct Followed {
    std::vector<double> scores, behind;
  };
  Followed follow(const std::map<std::string, View>& inputs, const std::vector<std::vector<int64_t>>& answers, double length_penalty,
                  std::optional<int64_t> max_length);

  // The precision that a graph runs in: where none was asked for, its own first one.
  const Precision& precision_of(const std::string& graph) const;

 private:
  struct Prompts {
    std::map<std::string, View> source;  // the encoder's inputs
    const int64_t* tokens = nullptr;     // [rows, width], that answers start from
    size_t width = 0;
    std::vector<size_t> lengths;         // how many of each row count
    std::vector<int64_t> begins;         // what `tokens` points to, where a token begins every answer

    std::vector<std::vector<int64_t>> rows() const;  // their tokens, without padding
  };

  Prompts prompts(std::map<std::string, View> inputs, const Settings& settings) const;
  ScoreRules rules(const Prompts& prompts, const Settings& settings, const std::vector<size_t>& limits,
                   const std::vector<uint8_t>& stops) const;
  void check_values(const TensorSpec& spec, const View& value) const;
  std::vector<size_t> limits(const Settings& settings, const std::vector<size_t>& lengths) const;
  std::vector<uint8_t> stops(const std::vector<int64_t>& tokens) const;
  StepGraphs& step_graphs(const Prompts& prompts, size_t beams);
  std::vector<std::vector<int64_t>> sources(const Prompts& prompts) const;
  Generated with_guesses(const Prompts& prompts, const Settings& settings, Answers& answers, const ScoreRules* rules,
                         const GenerateOptions& options);

  Sessions sessions_;
  // One generation at a time. usage_error for one inside another, in on_token, which would wait for ever.
  class Alone {
   public:
    explicit Alone(Generator& generator);
    ~Alone();
    Alone(const Alone&) = delete;
    Alone& operator=(const Alone&) = delete;

   private:
    Generator& generator_;
  };

  Process process_;  // that opened it
  std::shared_ptr<Turns> turns_ = std::make_shared<Turns>();
  std::shared_ptr<Server> server_;
  std::atomic<bool> submitted_{false};
  LatestStepGraphs step_graphs_{4};
};

}  // namespace attn
