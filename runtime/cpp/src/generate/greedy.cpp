#include "generate/greedy.h"

#include <cmath>
#include <utility>

namespace attn {

Answers::Answers(std::vector<size_t> limits, std::vector<uint8_t> stops, int64_t pad)
    : tokens(limits.size()),
      stopped(limits.size(), Stopped::length),
      sums(limits.size(), 0.0),
      limits_(std::move(limits)),
      stops_(std::move(stops)),
      active_(limits_.size()),
      pad_(pad) {
  for (size_t row = 0; row < limits_.size(); ++row) {
    active_[row] = limits_[row] > 0;
    left_ += active_[row];
  }
}

void Answers::add(std::vector<int64_t>& chosen) {
  ++steps_;
  for (size_t row = 0; row < active_.size(); ++row) {
    if (!active_[row]) {
      chosen[row] = pad_;
      continue;
    }
    tokens[row].push_back(chosen[row]);
    const bool hit = stops_[static_cast<size_t>(chosen[row])];
    if (hit) stopped[row] = Stopped::stop;
    if (hit || steps_ == limits_[row]) {
      active_[row] = 0;
      --left_;
    }
  }
}

void Answers::cancel() {
  for (size_t row = 0; row < active_.size(); ++row) {
    if (active_[row]) stopped[row] = Stopped::cancelled;
    active_[row] = 0;
  }
  left_ = 0;
}

namespace {

// The logits of rows that are under way, changed by the rules; the graph's own are left as they are.
class RuledLogits {
 public:
  Logits of(const Logits& logits, const Answers& answers, const ScoreRules& rules) {
    return logits.dtype == ATTN_FLOAT64 ? changed(doubles_, logits, answers, rules) : changed(floats_, logits, answers, rules);
  }

 private:
  template <typename T>
  static Logits changed(std::vector<T>& into, const Logits& logits, const Answers& answers, const ScoreRules& rules) {
    const T* given = static_cast<const T*>(logits.data);
    into.assign(given, given + logits.rows * logits.vocabulary);
    for (size_t row = 0; row < logits.rows; ++row) {
      if (answers.active()[row]) rules.apply(into.data() + row * logits.vocabulary, row, answers.tokens[row]);
    }
    Logits made = logits;
    made.data = into.data();
    return made;
  }

  std::vector<float> floats_;
  std::vector<double> doubles_;
};

}  // namespace

void generate_each(Steps& model, Logits logits, Answers& answers, const Choose& choose, const std::string& where,
                   const std::function<bool(size_t, int64_t)>& on_token, bool with_scores, const ScoreRules* rules) {
  const size_t rows = model.rows();
  std::vector<int64_t> chosen(rows);
  std::vector<uint8_t> told;
  RuledLogits ruled;
  while (answers.going()) {
    const Logits shown = rules ? ruled.of(logits, answers, *rules) : logits;
    for (size_t row = 0; row < rows; ++row) {
      if (!answers.active()[row]) continue;
      const size_t token = choose(shown, row);
      const double value = shown.at(row, token);
      // A row without a token to choose has minus infinity for all of them. One that the caller gave may be forbidden.
      if (rules && std::isinf(value) && std::isinf(largest_of(shown, row)) && std::isfinite(largest_of(logits, row))) {
        rules->refuse(row, answers.steps());
      }
      if (!std::isfinite(value)) check_finite(logits.at(row, token), row, answers.steps(), where);
      if (with_scores) {
        const double given = logits.at(row, token) - log_sum_exp(logits, row);
        const auto as_token = static_cast<Token>(token);
        answers.sums[row] += rules ? rules->log_probability(given, row, answers.tokens[row], as_token) : given;
      }
      chosen[row] = static_cast<int64_t>(token);
    }
    if (on_token) told = answers.active();
    answers.add(chosen);
    for (size_t row = 0; row < told.size(); ++row) {
      if (told[row] && !on_token(row, chosen[row])) return answers.cancel();
    }
    if (answers.going()) logits = model.advance(chosen, answers.active());
  }
}

}  // namespace attn
