// One answer a row: the likeliest token each time, a drawn one, or a given one. The Python twin is attn_runtime/generate/greedy.py.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "generate/graphs/step_graphs.h"
#include "generate/lookup/drafts.h"
#include "generate/rules.h"
#include "generate/serving/result.h"

namespace attn {

// The next token of a row that is under way.
using Choose = std::function<size_t(const Logits&, size_t row)>;

// What has been chosen for each row, and which rows are under way.
class Answers {
 public:
  // `stops` has a place for every token of the vocabulary.
  Answers(std::vector<size_t> limits, std::vector<uint8_t> stops, int64_t pad);

  const std::vector<uint8_t>& active() const { return active_; }
  bool going() const { return left_ > 0; }
  size_t steps() const { return steps_; }                                        // tokens of the longest
  size_t room(size_t row) const { return limits_[row] - tokens[row].size(); }  // tokens that may follow
  int64_t pad() const { return pad_; }
  // Take the next token of each row that is under way; of the others it becomes padding.
  void add(std::vector<int64_t>& tokens);
  // The same of one row that is under way.
  void add(size_t row, int64_t token);
  void cancel(Stopped why = Stopped::cancelled);

  std::vector<std::vector<int64_t>> tokens;  // of each row
  std::vector<Stopped> stopped;
  std::vector<double> sums;  // of log probabilities

 private:
  std::vector<size_t> limits_;
  std::vector<uint8_t> stops_, active_;
  int64_t pad_;
  size_t left_ = 0, steps_ = 0;
};

// The logits of rows that are under way, changed by rules; the graph's own are left as they are.
class RuledLogits {
 public:
  Logits of(const Logits& logits, const Answers& answers, const ScoreRules& rules);

 private:
  std::vector<float> floats_;
  std::vector<double> doubles_;
};

// The next token of every row that is under way, chosen from logits and added to `answers`. `rules` may be null.
class Choosing {
 public:
  Choosing(Answers& answers, Choose choose, std::string where, bool with_scores, const ScoreRules* rules);

  // A token for each row, of which those that were under way count. Raises backend_error for a logit that is NaN or infinite, usage_error
  // where the rules leave a row no token.
  const std::vector<int64_t>& take(const Logits& logits);

 private:
  Answers& answers_;
  Choose choose_;
  std::string where_;
  bool with_scores_;
  const ScoreRules* rules_;
  RuledLogits ruled_;
  std::vector<int64_t> chosen_;
};

// Fill `answers`, from the logits behind the prompts on. `on_token` may be empty; when it answers false the generation is over. `rules` may
// be null.
void generate_each(Steps& model, Logits logits, Answers& answers, const Choose& choose, const std::string& where,
                   const std::function<bool(size_t, int64_t)>& on_token, bool with_scores, const ScoreRules* rules = nullptr);

// Fills answers several tokens at a time: with the likeliest ones, of which some were guessed before.
class Guessed {
 public:
  // `room`: tokens that a row may have, prompt included; `most`: tokens of a guess. `rules` may be null.
  Guessed(Answers& answers, size_t room, const std::vector<ScoreRules::Tokens>& prompts, const std::vector<ScoreRules::Tokens>& sources,
          size_t most, std::string where, const ScoreRules* rules);

  // As generate_each: from the logits behind the prompts on.
  void generate(StepGraphs& model, Logits logits, const std::shared_ptr<Session>& extend, const std::function<bool(size_t, int64_t)>& on_token,
                bool with_scores);

  size_t drafted = 0, accepted = 0;  // tokens that were guessed and fed, and those of them that were chosen

 private:
  bool take(const Logits& logits, const std::function<bool(size_t, int64_t)>& on_token, bool with_scores);
  bool take_row(const Logits& logits, size_t row, const std::function<bool(size_t, int64_t)>& on_token, bool with_scores);
  size_t chosen(const Logits& given, size_t row);
  void next();

  Answers& answers_;
  std::vector<size_t> room_;
  std::string where_;
  const ScoreRules* rules_;
  std::vector<Drafts> drafts_;
  std::vector<std::vector<int64_t>> guesses_;
  std::vector<size_t> kept_;   // of the tokens that were fed, of each row
  std::vector<int64_t> feed_;  // [rows, count_]
  size_t count_ = 1;
  std::vector<float> floats_;
  std::vector<double> doubles_;
};

}  // namespace attn
