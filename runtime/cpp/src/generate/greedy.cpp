#include "generate/greedy.h"

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

void generate_each(Steps& model, Logits logits, Answers& answers, const Choose& choose, const std::string& where,
                   const std::function<bool(size_t, int64_t)>& on_token, bool with_scores) {
  const size_t rows = model.rows();
  std::vector<int64_t> chosen(rows);
  std::vector<uint8_t> told;
  while (answers.going()) {
    for (size_t row = 0; row < rows; ++row) {
      if (!answers.active()[row]) continue;
      const size_t token = choose(logits, row);
      check_finite(logits.at(row, token), row, answers.steps(), where);
      if (with_scores) answers.sums[row] += logits.at(row, token) - log_sum_exp(logits, row);
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
