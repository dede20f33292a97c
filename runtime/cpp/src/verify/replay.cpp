#include "verify/replay.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "generate/generator.h"
#include "verify/generated_cases.h"

namespace attn {
namespace {

using Rows = std::vector<std::vector<int64_t>>;

std::string rounded(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2g", value);
  return text;
}

// What the stored tolerance of the generator's precision allows a logit of a graph to be off, next to the largest golden one of usual inputs.
double logit_error(const Generator& generator, const std::string& name) {
  const Graph& graph = generator.bundle->graph(name);
  const Tolerance tolerance = generator.precision_of(name).tolerance.of("logits");
  const std::vector<FillRange>& fills = tolerance.fills_of("logits");
  double largest = 0;
  for (const GoldenCase& golden : graph.golden) {
    if (!golden.types.empty()) continue;  // unusual inputs
    const Tensors outputs = generator.bundle->golden_outputs(graph, golden);
    const Tensor logits = widened(outputs.at("logits"), ATTN_FLOAT32);
    const Logits seen{logits.buffer.data(), logits.dtype, 1, elements(logits.shape)};
    seen.with_row(0, [&](const auto* values) {
      for (size_t i = 0; i < seen.vocabulary; ++i) {
        // Infinite or fills are the logits of tokens that a model never writes.
        const double value = values[i];
        if (std::isfinite(value) && !is_fill(value, fills)) largest = std::max(largest, std::abs(value));
      }
    });
  }
  return tolerance.limit(largest);
}

// Rows [begin, end) of a tensor.
Tensor cut(const Tensor& tensor, size_t begin, size_t end) {
  Shape shape = tensor.shape;
  shape[0] = static_cast<int64_t>(end - begin);
  Tensor made(tensor.name, tensor.dtype, shape);
  const size_t piece = made.buffer.bytes() ? bytes_of(made.dtype, shape) / (end - begin) : 0;
  std::memcpy(made.buffer.data(), static_cast<const char*>(tensor.buffer.data()) + begin * piece, piece * (end - begin));
  return made;
}

// The first `length` places of an axis.
Tensor shortened(const Tensor& tensor, size_t axis, int64_t length) {
  Shape shape = tensor.shape;
  shape[axis] = length;
  Tensor made(tensor.name, tensor.dtype, shape);
  size_t outer = 1, inner = size_of(tensor.dtype);
  for (size_t i = 0; i < axis; ++i) outer *= static_cast<size_t>(shape[i]);
  for (size_t i = axis + 1; i < shape.size(); ++i) inner *= static_cast<size_t>(shape[i]);
  const size_t to = static_cast<size_t>(length) * inner, from = static_cast<size_t>(tensor.shape[axis]) * inner;
  for (size_t i = 0; i < outer; ++i) {
    std::memcpy(static_cast<char*>(made.buffer.data()) + i * to, static_cast<const char*>(tensor.buffer.data()) + i * from, to);
  }
  return made;
}

// A row alone, without the padding at its end that the longer rows beside it asked for.
void trim(Tensors& inputs, const std::vector<TensorSpec>& specs) {
  for (const TensorSpec& mask : specs) {
    if (mask.dtype != ATTN_BOOL || mask.dims.size() != 2 || !mask.dims[1].name) continue;
    const Tensor& set = inputs.at(mask.name);
    const auto* begin = set.view().as<uint8_t>();
    const auto count = static_cast<int64_t>(std::count_if(begin, begin + elements(set.shape), [](uint8_t each) { return each != 0; }));
    const int64_t length = std::max<int64_t>({count, mask.dims[1].min, 1});
    for (const TensorSpec& spec : specs) {
      for (size_t axis = 1; axis < spec.dims.size(); ++axis) {
        if (spec.dims[axis].name == mask.dims[1].name) inputs.at(spec.name) = shortened(inputs.at(spec.name), axis, length);
      }
    }
  }
}

std::string first_difference(const std::vector<int64_t>& wanted, const std::vector<int64_t>& got) {
  const size_t shorter = std::min(wanted.size(), got.size());
  const auto at = static_cast<size_t>(
      std::mismatch(wanted.begin(), wanted.begin() + static_cast<std::ptrdiff_t>(shorter), got.begin()).first - wanted.begin());
  const auto told = [at](const std::vector<int64_t>& row) { return at < row.size() ? std::to_string(row[at]) : "the end"; };
  return "token " + std::to_string(at) + " is " + told(got) + ", PyTorch's is " + told(wanted) + " (" + std::to_string(got.size()) + " and " +
         std::to_string(wanted.size()) + " tokens)";
}

// One case, all rows of it in a batch or one alone, with so many tokens guessed ahead.
class Try {
 public:
  Try(Generator& generator, const GeneratedCase& golden, std::optional<size_t> row, int64_t lookup, double logit_error)
      : generator_(generator), golden_(golden), row_(row), lookup_(lookup), logit_error_(logit_error) {
    const size_t begin = row.value_or(0), end = row ? *row + 1 : golden.rows();
    const auto& specs = generator.graph_io->inputs;
    const bool half = std::any_of(specs.begin(), specs.end(), [](const TensorSpec& spec) { return spec.dtype == ATTN_FLOAT16; });
    for (const auto& [name, tensor] : golden.inputs) {
      Tensor part = cut(tensor, begin, end);
      inputs_.emplace(name, half ? halved(part) : std::move(part));
    }
    if (row) trim(inputs_, specs);
    const auto* tokens = golden.tokens.view().as<int64_t>();
    const auto* lengths = golden.lengths.view().as<int64_t>();
    const auto* scores = golden.scores.view().as<float>();
    for (size_t i = begin; i < end; ++i) {
      const int64_t* answer = tokens + i * static_cast<size_t>(golden.tokens.shape[1]);
      answers_.emplace_back(answer, answer + lengths[i]);
      scores_.push_back(static_cast<double>(scores[i]));
    }
    // A log probability is off by at most twice what logits are; a score adds up those of a whole answer.
    double grown = 1;
    for (const auto& answer : answers_) {
      grown = std::max(grown, std::pow(static_cast<double>(std::max<size_t>(answer.size(), 1)), 1 - golden.length_penalty));
    }
    // A penalty of repetition multiplies log probabilities, and what they are off.
    const double stretch = std::max(1.0, generator.graph_io->rules.repetition_penalty);
    const double score_error = 2 * logit_error * grown * stretch;
    const Precision& computed = generator.precision_of(generator.graph_io->step.name);
    allowed_ = computed.type == "fp32" && !computed.quantised ? golden.tolerance : std::max(golden.tolerance, score_error);
    decided_ = golden.margin > 2 * (golden.beams == 1 ? logit_error : std::max(score_error, golden.tolerance));
  }

  Replayed run() {
    GenerateOptions options;
    options.max_length = golden_.max_length;
    options.beams = golden_.beams;
    options.length_penalty = golden_.length_penalty;
    options.early_stop = false;
    options.likeliest = true;
    options.scores = true;
    options.lookup = lookup_;
    const Generated found = generator_.generate(views_of(inputs_), options);
    Replayed told;
    told.test_case = golden_.name;
    told.allowed_error = allowed_;
    for (size_t row = 0; row < answers_.size(); ++row) {
      if (found.tokens[row] == answers_[row]) continue;
      const std::string at = "row " + std::to_string(row_.value_or(row)) + (row_ ? " alone" : " of the batch") +
                             (lookup_ ? ", with guesses: " : ": ");
      if (decided_) {
        told.problem = at + first_difference(answers_[row], found.tokens[row]);
      } else if (const std::string problem = undecided(); !problem.empty()) {
        told.problem = at + problem;
      }
      return told;
    }
    told.score_error = 0;
    for (size_t row = 0; row < answers_.size(); ++row) {
      const double off = std::abs(found.scores[row] - scores_[row]);
      told.score_error = off > told.score_error || std::isnan(off) ? off : told.score_error;
    }
    if (!(told.score_error <= allowed_)) {
      told.problem = "the tokens are PyTorch's, the scores are off by " + rounded(told.score_error) + ", allowed " + rounded(allowed_);
    }
    return told;
  }

 private:
  // What is wrong where other tokens may be as good; empty where they are. PyTorch's answer is followed through the cache here: its score has
  // to be what it was there, and with one beam none of its tokens may stand further behind the likeliest one than two logits can be off.
  std::string undecided() {
    const Generator::Followed followed = generator_.follow(views_of(inputs_), answers_, golden_.length_penalty, golden_.max_length);
    for (size_t row = 0; row < answers_.size(); ++row) {
      const double off = std::abs(followed.scores[row] - scores_[row]);
      if (!(off <= allowed_)) {
        return "other tokens, and PyTorch's own score " + rounded(off) + " off what they did there, allowed " + rounded(allowed_);
      }
    }
    const double behind = *std::max_element(followed.behind.begin(), followed.behind.end());
    if (golden_.beams == 1 && !(behind <= 2 * logit_error_)) {
      return "other tokens, and one of PyTorch's is " + rounded(behind) + " behind the likeliest, allowed " + rounded(2 * logit_error_);
    }
    return "";
  }

  Generator& generator_;
  const GeneratedCase& golden_;
  std::optional<size_t> row_;
  int64_t lookup_;
  double logit_error_;
  Tensors inputs_;
  Rows answers_;
  std::vector<double> scores_;
  double allowed_;
  bool decided_;  // whether the tokens have to be PyTorch's: its choices were further apart than twice the error that is allowed
};

}  // namespace

std::vector<Replayed> replay_generation(Generator& generator, const std::function<void(const Replayed&)>& on_result) {
  std::vector<Replayed> results;
  const GraphIO& graph_io = *generator.graph_io;
  const int64_t guessed = graph_io.most_guessed();
  const double of_steps = std::max(logit_error(generator, graph_io.first.name), logit_error(generator, graph_io.step.name));
  const double of_guesses = graph_io.extend ? std::max(of_steps, logit_error(generator, graph_io.extend->name)) : of_steps;
  for_generated_cases(*generator.bundle, [&](const GeneratedCase& golden) {
    const auto attempt = [&](std::optional<size_t> row, int64_t lookup) {
      results.push_back(Try(generator, golden, row, lookup, lookup ? of_guesses : of_steps).run());
      if (on_result) on_result(results.back());
    };
    const auto attempts = [&](bool together, int64_t lookup) {
      if (together) attempt(std::nullopt, lookup);
      for (size_t row = 0; row < golden.rows(); ++row) attempt(row, lookup);
    };
    attempts(true, 0);
    if (guessed && golden.beams == 1) attempts(!graph_io.one_place || golden.rows() == 1, guessed);
  });
  return results;
}

std::vector<Replayed> replay_generation(const std::shared_ptr<const Bundle>& bundle, const OpenOptions& options,
                                        const std::function<void(const Replayed&)>& on_result) {
  if (!has_generated_cases(*bundle)) return {};
  return replay_generation(*Generator::open(bundle, options), on_result);
}

}  // namespace attn
