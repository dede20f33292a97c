#include "generate/rules.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "util/error.h"

namespace attn {
namespace {

// Calls `ban` with the tokens that would make the last `size` ones of `row` what stands in `within` already.
template <typename Ban>
void for_completions(const std::vector<Token>& row, const std::vector<Token>& within, size_t size, Ban&& ban) {
  if (!size || row.size() + 1 < size || within.size() < size) return;
  const auto beginning = row.end() - static_cast<std::ptrdiff_t>(size - 1);
  for (auto at = within.begin(); at + static_cast<std::ptrdiff_t>(size) <= within.end(); ++at) {
    if (std::equal(beginning, row.end(), at)) ban(at[static_cast<std::ptrdiff_t>(size - 1)]);
  }
}

}  // namespace

ScoreRules::ScoreRules(const Settings& settings, const std::vector<uint8_t>& stops, std::vector<Tokens> prompts, std::vector<size_t> limits,
                       std::vector<Tokens> sources, std::string where)
    : settings_(settings),
      vocabulary_(stops.size()),
      prompts_(std::move(prompts)),
      sources_(std::move(sources)),
      limits_(std::move(limits)),
      where_(std::move(where)) {
  for (size_t token = 0; token < stops.size(); ++token) {
    if (stops[token]) stops_.push_back(static_cast<Token>(token));
  }
  for (const Tokens& prompt : prompts_) fewest_.push_back(settings_.fewest(prompt.size()));
}

bool ScoreRules::any() const {
  const bool plain = settings_.repetition_penalty == 1 && !settings_.no_repeat_ngram && !settings_.least_new && !settings_.least_of_row;
  return !plain || !settings_.suppress.empty() || !settings_.suppress_first.empty() || !settings_.forced_end.empty() ||
         (settings_.encoder_no_repeat_ngram && !sources_.empty());
}

template <typename T>
void ScoreRules::change(T* scores, size_t row, const Tokens& answer) const {
  const T never = -std::numeric_limits<T>::infinity();
  const auto ban = [&](Token token) { scores[token] = never; };
  if (ends(row, answer.size())) {
    std::fill_n(scores, vocabulary_, never);
    for (const Token token : settings_.forced_end) scores[token] = 0;
    return;
  }
  Tokens whole = prompts_[row];
  whole.insert(whole.end(), answer.begin(), answer.end());
  if (settings_.repetition_penalty != 1) {
    const auto penalty = static_cast<T>(settings_.repetition_penalty);
    for (const Token token : std::set<Token>(whole.begin(), whole.end())) {
      scores[token] = scores[token] < 0 ? scores[token] * penalty : scores[token] / penalty;
    }
  }
  for_completions(whole, whole, static_cast<size_t>(settings_.no_repeat_ngram), ban);
  if (!sources_.empty()) for_completions(whole, sources_[row], settings_.encoder_no_repeat_ngram, ban);
  if (answer.size() < fewest_[row]) std::for_each(stops_.begin(), stops_.end(), ban);
  std::for_each(settings_.suppress.begin(), settings_.suppress.end(), ban);
  if (answer.empty()) std::for_each(settings_.suppress_first.begin(), settings_.suppress_first.end(), ban);
}

template void ScoreRules::change(float*, size_t, const Tokens&) const;
template void ScoreRules::change(double*, size_t, const Tokens&) const;

double ScoreRules::log_probability(double value, size_t row, const Tokens& answer, Token token) const {
  const auto has = [token](const Tokens& tokens) { return std::find(tokens.begin(), tokens.end(), token) != tokens.end(); };
  if (ends(row, answer.size())) return has(settings_.forced_end) ? 0 : -std::numeric_limits<double>::infinity();
  return settings_.repetition_penalty != 1 && (has(prompts_[row]) || has(answer)) ? value * settings_.repetition_penalty : value;
}

void ScoreRules::refuse(size_t row, size_t step) const {
  throw usage_error("the rules leave row " + std::to_string(row) + " no token to choose at step " + std::to_string(step) +
                    " (no_repeat_ngram " + std::to_string(settings_.no_repeat_ngram) + ", " + std::to_string(settings_.suppress.size()) +
                    " suppressed, " + std::to_string(fewest_[row]) + " tokens before a stop token); take a rule off, or a lower max_length (" +
                    where_ + ")");
}

}  // namespace attn
