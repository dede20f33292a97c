// Beam search: several answers of each row are followed at once, and the best finished one is given. The rules are those of Hugging Face's
// transformers, and told in the Python twin, attn_runtime/generate/beam.py.
#pragma once

#include <string>
#include <vector>

#include "generate/graphs/steps.h"
#include "generate/rules.h"
#include "generate/serving/result.h"
#include "generate/topk.h"

namespace attn {

class BeamSearch {
 public:
  // `limits`: most tokens of each row's answer. `stops` has a place for every token of the vocabulary. `rules` may be null.
  BeamSearch(const std::vector<size_t>& limits, std::vector<uint8_t> stops, int64_t pad, const Settings& settings,
             const ScoreRules* rules = nullptr);

  // From the logits of each prompt, [rows / beams, vocabulary], on.
  void generate(Steps& model, Logits logits, const std::string& where);
  Generated result() const;

 private:
  struct Answer {
    double score;
    std::vector<int64_t> tokens;
  };
  // The search of one row. Beams are numbered as the row's own rows of the step are.
  struct Row {
    size_t limit;
    bool going;
    std::vector<double> sums;                   // of log probabilities, of each beam
    std::vector<std::vector<int64_t>> sequences;  // of each beam
    std::vector<Answer> finished;               // best first
    std::vector<size_t> parents;                // which beam each beam goes on from
  };

  // Go one token on, from the best sums of what the row's beams can go on with.
  void step(Row& row, const std::vector<LargestSums::Sum>& best);
  Answer best(const Row& row) const;

  std::vector<Row> rows_;
  std::vector<uint8_t> stops_;
  int64_t pad_;
  Settings settings_;
  const ScoreRules* rules_;
  size_t beams_, keep_, steps_ = 0;
  std::vector<size_t> on_;
};

}  // namespace attn
