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

void Answers::cancel(Stopped why) {
  for (size_t row = 0; row < active_.size(); ++row) {
    if (active_[row]) stopped[row] = why;
    active_[row] = 0;
  }
  left_ = 0;
}

namespace {

template <typename T>
Logits changed(std::vector<T>& into, const Logits& logits, const Answers& answers, const ScoreRules& rules) {
  const T* given = static_cast<const T*>(logits.data);
  into.assign(given, given + logits.rows * logits.vocabulary);
  for (size_t row = 0; row < logits.rows; ++row) {
    if (answers.active()[row]) rules.apply(into.data() + row * logits.vocabulary, row, answers.tokens[row]);
  }
  Logits made = logits;
  made.data = into.data();
  return made;
}

}  // namespace

Logits RuledLogits::of(const Logits& logits, const Answers& answers, const ScoreRules& rules) {
  return logits.dtype == ATTN_FLOAT64 ? changed(doubles_, logits, answers, rules) : changed(floats_, logits, answers, rules);
}

Choosing::Choosing(Answers& answers, Choose choose, std::string where, bool with_scores, const ScoreRules* rules)
    : answers_(answers),
      choose_(std::move(choose)),
      where_(std::move(where)),
      with_scores_(with_scores),
      rules_(rules),
      chosen_(answers.tokens.size()) {}

const std::vector<int64_t>& Choosing::take(const Logits& logits) {
  const Logits shown = rules_ ? ruled_.of(logits, answers_, *rules_) : logits;
  for (size_t row = 0; row < chosen_.size(); ++row) {
    if (!answers_.active()[row]) continue;
    const size_t token = choose_(shown, row);
    const double value = shown.at(row, token);
    // A row without a token to choose has minus infinity for all of them. One that the caller gave may be forbidden.
    if (rules_ && std::isinf(value) && std::isinf(largest_of(shown, row)) && std::isfinite(largest_of(logits, row))) {
      rules_->refuse(row, answers_.steps());
    }
    if (!std::isfinite(value)) check_finite(logits.at(row, token), row, answers_.steps(), where_);
    if (with_scores_) {
      const double given = logits.at(row, token) - log_sum_exp(logits, row);
      const auto as_token = static_cast<Token>(token);
      answers_.sums[row] += rules_ ? rules_->log_probability(given, row, answers_.tokens[row], as_token) : given;
    }
    chosen_[row] = static_cast<int64_t>(token);
  }
  answers_.add(chosen_);
  return chosen_;
}

void generate_each(Steps& model, Logits logits, Answers& answers, const Choose& choose, const std::string& where,
                   const std::function<bool(size_t, int64_t)>& on_token, bool with_scores, const ScoreRules* rules) {
  Choosing choosing(answers, choose, where, with_scores, rules);
  std::vector<uint8_t> told;
  while (answers.going()) {
    if (on_token) told = answers.active();
    const std::vector<int64_t>& chosen = choosing.take(logits);
    for (size_t row = 0; row < told.size(); ++row) {
      if (told[row] && !on_token(row, chosen[row])) return answers.cancel();
    }
    if (answers.going()) logits = model.advance(chosen, answers.active());
  }
}

}  // namespace attn
