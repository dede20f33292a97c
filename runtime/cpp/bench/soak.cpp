// What scripts/bench/soak.py measures in C++: threads that call one session and one generator, and open their own from bundles that are
// replaced meanwhile. Prints {"counts": {...}, "errors", "wrong", "first"}; its script says what each action does.
//
//   attn_soak EXPORTS SECONDS THREADS LIBRARY
//
// EXPORTS holds 0/ and 1/, two exports each of classifier.attn and writer.attn, and live/, where they take turns.
#include <attn/runtime.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

namespace {

using Clock = std::chrono::steady_clock;
using Random = std::mt19937_64;
using Rows = std::vector<std::vector<int64_t>>;

constexpr int cases = 24;
constexpr int64_t longest = 80;  // tokens of a prompt; those of a submitted one are read in slices
constexpr std::pair<const char*, int> shares[] = {{"run", 36},    {"bind", 16}, {"generate", 8}, {"cancel", 6},
                                                 {"submit", 16}, {"open", 12}, {"write", 6}};

int64_t between(Random& draw, int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(draw); }

attn::Options options(const std::string& library, int threads = 1) {
  attn::Options made;
  made.device = "cpu", made.threads = threads, made.library = library;
  return made;
}

template <typename T>
void fill(attn::Tensor& tensor, Random& draw, int64_t low, int64_t high) {
  for (T& value : tensor.view<T>()) value = static_cast<T>(between(draw, low, high));
}

attn::Tensors drawn_inputs(const std::vector<attn::Spec>& specs, Random& draw) {
  std::map<std::string, int64_t> sizes;
  attn::Tensors made;
  for (const attn::Spec& spec : specs) {
    attn::Shape shape;
    for (const attn::Dim& dim : spec.dims) {
      if (!dim.name.empty() && !sizes.count(dim.name)) sizes[dim.name] = between(draw, dim.min, std::min(dim.max, 2 * dim.opt));
      shape.push_back(dim.name.empty() ? dim.opt : sizes[dim.name]);
    }
    attn::Tensor& tensor = made[spec.name] = attn::Tensor(shape, spec.dtype);
    if (spec.dtype == ATTN_INT64) {
      fill<int64_t>(tensor, draw, spec.low.value_or(0), spec.high.value_or(2) - 1);
    } else if (spec.dtype == ATTN_BOOL) {
      std::memset(tensor.data(), 1, tensor.bytes());  // every token counts
    } else {
      for (float& value : tensor.view<float>()) value = std::uniform_real_distribution<float>(-1, 1)(draw);
    }
  }
  return made;
}

bool close(const float* found, const attn::Tensor& expected) {
  float largest = 0, worst = 0;
  const auto values = expected.view<float>();
  for (size_t i = 0; i < values.size(); ++i) {
    largest = std::max(largest, std::fabs(values[i]));
    worst = std::max(worst, std::fabs(values[i] - found[i]));
  }
  return worst <= 1e-5F * (1 + largest);
}

struct Prompt {
  std::vector<int64_t> tokens;
  int64_t rows;
  attn::GenerateOptions options;
  Rows answer;
};

Rows written(const attn::Generator& generator, const Prompt& prompt, const attn::GenerateOptions& options) {
  attn::Tensors inputs;
  const int64_t length = static_cast<int64_t>(prompt.tokens.size()) / prompt.rows;
  inputs["tokens"] = attn::Tensor({prompt.rows, length}, prompt.tokens);
  Rows rows;
  for (const attn::Answer& answer : generator.generate(inputs, options).rows) rows.push_back(answer.tokens);
  return rows;
}

// What one export answers to known inputs, asked in quiet.
class Reference {
 public:
  Reference(const std::string& folder, const std::string& library) {
    const attn::Bundle classifier(folder + "/classifier.attn"), writer(folder + "/writer.attn");
    manifests_ = {classifier.manifest(), writer.manifest()};
    labels_ = classifier.labels();
    Random draw(0);
    const attn::Session session(classifier, options(library));
    for (int i = 0; i < cases; ++i) {
      calls_.emplace_back(drawn_inputs(session.inputs(), draw), attn::Tensors());
      calls_.back().second = session.run(calls_.back().first);
    }
    const attn::Generator generator(writer, options(library));
    for (int i = 0; i < cases; ++i) {
      Prompt prompt;
      prompt.rows = between(draw, 1, 2);
      for (int64_t n = prompt.rows * between(draw, 1, i % 4 ? 8 : longest); n > 0; --n) prompt.tokens.push_back(between(draw, 3, generator.vocabulary() - 1));
      prompt.options.max_length = between(draw, 4, 24);
      prompt.options.stop.emplace();
      prompt.options.sample = i % 2 != 0;
      prompt.options.temperature = 1.5, prompt.options.seed = static_cast<uint64_t>(i);
      prompt.answer = written(generator, prompt, prompt.options);
      prompts_.push_back(std::move(prompt));
    }
  }

  bool made(const attn::Bundle& bundle, size_t kind) const { return manifests_[kind] == bundle.manifest(); }
  const std::vector<std::string>& labels() const { return labels_; }

  bool same_call(const attn::Session& session, Random& draw) const {
    const auto& [inputs, expected] = calls_[draw() % calls_.size()];
    const attn::Tensors found = session.run(inputs);
    return std::all_of(expected.begin(), expected.end(), [&](const auto& each) {
      const attn::Tensor& tensor = found.at(each.first);
      return tensor.shape() == each.second.shape() && close(tensor.view<float>().data(), each.second);
    });
  }

  bool same_bound_call(const attn::Session& session, Random& draw) const {
    const auto& [inputs, expected] = calls_[draw() % calls_.size()];
    attn::Sizes sizes;
    for (const attn::Spec& spec : session.inputs()) {
      for (size_t i = 0; i < spec.dims.size(); ++i) {
        const auto known = std::any_of(sizes.begin(), sizes.end(), [&](const auto& size) { return size.first == spec.dims[i].name; });
        if (!spec.dims[i].name.empty() && !known) sizes.emplace_back(spec.dims[i].name, inputs.at(spec.name).shape()[i]);
      }
    }
    attn::Binding bound = session.bind(sizes);
    for (const auto& [name, tensor] : inputs) std::memcpy(bound.input(name).data, tensor.data(), tensor.bytes());
    for (int i = 0; i < 3; ++i) bound.run();
    return std::all_of(expected.begin(), expected.end(),
                       [&](const auto& each) { return close(bound.output<float>(each.first).data(), each.second); });
  }

  bool same_answer(const attn::Generator& generator, Random& draw) const {
    const Prompt& prompt = prompts_[draw() % prompts_.size()];
    return written(generator, prompt, prompt.options) == prompt.answer;
  }

  // Ended after some tokens, an answer is the beginning of the whole one.
  bool same_beginning(const attn::Generator& generator, Random& draw) const {
    const Prompt& prompt = prompts_[draw() % prompts_.size()];
    int64_t left = between(draw, 1, 3);
    attn::GenerateOptions ended = prompt.options;
    ended.on_token = [&left](size_t row, int64_t) { return row != 0 || --left > 0; };
    const Rows found = written(generator, prompt, ended);
    for (size_t row = 0; row < found.size(); ++row) {
      const auto& whole = prompt.answer[row];
      if (found[row].size() > whole.size() || !std::equal(found[row].begin(), found[row].end(), whole.begin())) return false;
    }
    return found.size() == prompt.answer.size() && !found[0].empty();
  }

  // Each row by itself, beside what other threads submitted: the whole answer, or the beginning of one that was ended.
  bool same_submitted(const attn::Generator& generator, Random& draw) const {
    const Prompt& prompt = prompts_[draw() % prompts_.size()];
    const int64_t length = static_cast<int64_t>(prompt.tokens.size()) / prompt.rows;
    const bool ended = between(draw, 0, 9) < 3;
    std::vector<attn::Request> requests;
    for (int64_t row = 0; row < prompt.rows; ++row) {
      const auto begin = prompt.tokens.begin() + row * length;
      attn::Tensors inputs;
      inputs["tokens"] = attn::Tensor({1, length}, std::vector<int64_t>(begin, begin + length));
      attn::GenerateOptions own = prompt.options;
      own.seed += static_cast<uint64_t>(row);
      requests.push_back(generator.submit(inputs, own, between(draw, 0, 3) ? 0.0 : 0.02));
    }
    for (size_t row = 0; row < requests.size(); ++row) {
      while (requests[row].next()) {
        if (ended) requests[row].cancel();
      }
      const attn::Answer found = requests[row].result();
      const auto& whole = prompt.answer[row];
      if (found.why == ATTN_STOPPED_LENGTH ? found.tokens != whole
                                           : found.tokens.size() > whole.size() ||
                                                 !std::equal(found.tokens.begin(), found.tokens.end(), whole.begin())) {
        return false;
      }
    }
    return true;
  }

 private:
  std::vector<std::string> manifests_, labels_;
  std::vector<std::pair<attn::Tensors, attn::Tensors>> calls_;
  std::vector<Prompt> prompts_;
};

class Soak {
 public:
  Soak(const std::string& exports, const std::string& library)
      : exports_(exports),
        options_(options(library)),
        references_{Reference(exports + "/0", library), Reference(exports + "/1", library)},
        classifier_(exports + "/0/classifier.attn"),
        writer_(exports + "/0/writer.attn"),
        session_(classifier_, options(library, ATTN_THREADS_AUTO)),
        generator_(writer_, options(library, ATTN_THREADS_AUTO)) {}

  nlohmann::json run(double seconds, int count) {
    const auto end = Clock::now() + std::chrono::duration<double>(seconds);
    std::vector<std::thread> threads;
    for (int number = 0; number < count; ++number) {
      threads.emplace_back([this, number, end] {
        for (Random draw(static_cast<uint64_t>(number)); Clock::now() < end;) one(draw);
      });
    }
    std::ofstream(exports_ + "/live/ready").flush();
    for (std::thread& thread : threads) thread.join();
    return {{"counts", counts_}, {"errors", errors_}, {"wrong", wrong_}, {"first", first_}};
  }

 private:
  void one(Random& draw) {
    int64_t at = between(draw, 0, 99);
    std::string name;
    for (const auto& [each, share] : shares) {
      name = each;
      if ((at -= share) < 0) break;
    }
    std::string problem;
    bool right = true, refused = false;
    try {
      right = act(name, draw);
    } catch (const attn::Error& error) {
      refused = error.status() == ATTN_ERROR_BUNDLE && std::strstr(error.what(), "replaced");
      if (!refused) problem = error.what();
    } catch (const std::exception& error) {
      problem = error.what();
    }
    const std::lock_guard<std::mutex> hold(lock_);
    ++counts_[refused ? "refused" : name];
    errors_ += !problem.empty();
    wrong_ += !right;
    if (first_.empty() && (!right || !problem.empty())) first_ = problem.empty() ? name + ": a wrong answer" : problem;
  }

  bool act(const std::string& name, Random& draw) {
    const Reference& first = references_[0];
    if (name == "run") return first.same_call(session_, draw);
    if (name == "bind") return first.same_bound_call(session_, draw);
    if (name == "generate") return first.same_answer(generator_, draw);
    if (name == "cancel") return first.same_beginning(generator_, draw);
    if (name == "submit") return first.same_submitted(generator_, draw);
    if (name == "open") {
      const attn::Bundle bundle(exports_ + "/live/classifier.attn");
      const attn::Session session(bundle, options_);
      const Reference& its = reference(bundle, 0);
      return its.labels() == bundle.labels() && its.same_call(session, draw);
    }
    const attn::Bundle bundle(exports_ + "/live/writer.attn");
    const attn::Generator generator(bundle, options_);
    return reference(bundle, 1).same_answer(generator, draw);
  }

  const Reference& reference(const attn::Bundle& bundle, size_t kind) const {
    for (const Reference& each : references_) {
      if (each.made(bundle, kind)) return each;
    }
    throw std::runtime_error("the manifest is neither export's");
  }

  std::string exports_;
  attn::Options options_;
  std::vector<Reference> references_;
  attn::Bundle classifier_, writer_;
  attn::Session session_;
  attn::Generator generator_;
  std::mutex lock_;
  std::map<std::string, int64_t> counts_;
  int64_t errors_ = 0, wrong_ = 0;
  std::string first_;
};

}  // namespace

int main(int count, char** arguments) {
  if (count != 5) {
    std::fprintf(stderr, "usage: attn_soak EXPORTS SECONDS THREADS LIBRARY\n");
    return 2;
  }
  try {
    std::printf("%s\n", Soak(arguments[1], arguments[4]).run(std::atof(arguments[2]), std::atoi(arguments[3])).dump().c_str());
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
