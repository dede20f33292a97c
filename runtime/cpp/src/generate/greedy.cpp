#include "generate/greedy.h"

#include <algorithm>
#include <cmath>
#include <type_traits>
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
  for (size_t row = 0; row < active_.size(); ++row) {
    if (active_[row]) {
      add(row, chosen[row]);
    } else {
      chosen[row] = pad_;
    }
  }
}

void Answers::add(size_t row, int64_t token) {
  tokens[row].push_back(token);
  steps_ = std::max(steps_, tokens[row].size());
  const bool hit = stops_[static_cast<size_t>(token)];
  if (hit) stopped[row] = Stopped::stop;
  if (hit || !room(row)) {
    active_[row] = 0;
    --left_;
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

// The log probability of a token, chosen for the row `row` by row `at` of the logits, with what the rules make of it.
double scored(const Logits& logits, size_t at, size_t token, size_t row, const Answers& answers, const ScoreRules* rules) {
  const double given = logits.at(at, token) - log_sum_exp(logits, at);
  return rules ? rules->log_probability(given, row, answers.tokens[row], static_cast<Token>(token)) : given;
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
    if (with_scores_) answers_.sums[row] += scored(logits, row, token, row, answers_, rules_);
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

Guessed::Guessed(Answers& answers, size_t room, const std::vector<ScoreRules::Tokens>& prompts, const std::vector<ScoreRules::Tokens>& sources,
                 size_t most, std::string where, const ScoreRules* rules)
    : answers_(answers), where_(std::move(where)), rules_(rules), guesses_(prompts.size()), kept_(prompts.size()) {
  for (size_t row = 0; row < prompts.size(); ++row) {
    room_.push_back(room - prompts[row].size());
    drafts_.emplace_back(sources.empty() ? ScoreRules::Tokens() : sources[row], prompts[row], most);
  }
}

void Guessed::generate(StepGraphs& model, Logits logits, const std::shared_ptr<Session>& extend,
                       const std::function<bool(size_t, int64_t)>& on_token, bool with_scores) {
  while (true) {
    const bool fed = count_ > 1;
    if (!take(logits, on_token, with_scores)) return answers_.cancel();
    if (!answers_.going()) return;
    if (fed) model.keep(kept_);
    next();
    logits = count_ == 1 ? model.advance(feed_, answers_.active()) : model.extend(feed_, count_, answers_.active(), extend);
  }
}

// Choose, of the logits behind the last token and the guesses, up to the first wrong one. False where on_token ends it.
bool Guessed::take(const Logits& logits, const std::function<bool(size_t, int64_t)>& on_token, bool with_scores) {
  const std::vector<uint8_t> before = answers_.active();
  for (size_t row = 0; row < before.size(); ++row) {
    kept_[row] = 0;
    if (before[row] && !take_row(logits, row, on_token, with_scores)) return false;
  }
  return true;
}

bool Guessed::take_row(const Logits& logits, size_t row, const std::function<bool(size_t, int64_t)>& on_token, bool with_scores) {
  const std::vector<int64_t>& answer = answers_.tokens[row];
  const std::vector<int64_t>& guess = guesses_[row];
  const size_t begun = answer.size();
  bool goes_on = true;
  for (size_t number = 0; number <= guess.size(); ++number) {
    const Logits given = logits.only(row * count_ + number);
    const size_t token = chosen(given, row);
    if (with_scores) answers_.sums[row] += scored(given, 0, token, row, answers_, rules_);
    answers_.add(row, static_cast<int64_t>(token));
    goes_on = !on_token || on_token(row, answer.back());
    if (!goes_on || !answers_.active()[row] || (number < guess.size() && guess[number] != answer.back())) break;
  }
  kept_[row] = answers_.active()[row] ? answer.size() - begun : 0;
  drafted += guess.size();
  accepted += answer.size() - begun - 1;
  drafts_[row].take({answer.begin() + static_cast<std::ptrdiff_t>(begun), answer.end()}, guess.size());
  return goes_on;
}

// The likeliest token of one row of logits, by the rules.
size_t Guessed::chosen(const Logits& given, size_t row) {
  Logits shown = given;
  if (rules_) {
    given.with_row(0, [&](const auto* values) {
      using T = std::remove_const_t<std::remove_pointer_t<decltype(values)>>;
      std::vector<T>* into = nullptr;
      if constexpr (std::is_same_v<T, double>) {
        into = &doubles_;
      } else {
        into = &floats_;
      }
      into->assign(values, values + given.vocabulary);
      rules_->apply(into->data(), row, answers_.tokens[row]);
      shown.data = into->data();
    });
  }
  const size_t token = likeliest(shown, 0);
  const double value = shown.at(0, token);
  if (rules_ && std::isinf(value) && std::isfinite(largest_of(given, 0))) rules_->refuse(row, answers_.tokens[row].size());
  if (!std::isfinite(value)) check_finite(given.at(0, token), row, answers_.tokens[row].size(), where_);
  return token;
}

// The tokens to feed: the last one of each row, and guesses of as many as `together` says.
void Guessed::next() {
  const std::vector<std::vector<int64_t>>& tokens = answers_.tokens;
  const std::vector<uint8_t>& active = answers_.active();
  size_t room = SIZE_MAX;  // padding behind shorter guesses is read too, and has to have a place
  for (size_t row = 0; row < tokens.size(); ++row) {
    if (active[row]) room = std::min(room, room_[row] - tokens[row].size());
  }
  std::vector<size_t> lengths;
  for (size_t row = 0; row < tokens.size(); ++row) {
    guesses_[row].clear();
    if (!active[row]) continue;
    guesses_[row] = drafts_[row].guess(std::min(answers_.room(row) - 1, room));
    lengths.push_back(guesses_[row].size());
  }
  count_ = 1 + together(lengths);
  feed_.assign(tokens.size() * count_, answers_.pad());
  for (size_t row = 0; row < tokens.size(); ++row) {
    if (!active[row]) continue;
    guesses_[row].resize(std::min(guesses_[row].size(), count_ - 1));
    feed_[row * count_] = tokens[row].back();
    std::copy(guesses_[row].begin(), guesses_[row].end(), feed_.begin() + static_cast<std::ptrdiff_t>(row * count_ + 1));
  }
}

}  // namespace attn
