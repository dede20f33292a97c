#include "generate/beam.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "generate/topk.h"

namespace attn {
namespace {

// Below every score that counts; of beams that are not there yet and of answers that are not finished.
constexpr double never = -1.0e9;

}  // namespace

BeamSearch::BeamSearch(const std::vector<size_t>& limits, std::vector<uint8_t> stops, int64_t pad, const Settings& settings,
                       const ScoreRules* rules)
    : stops_(std::move(stops)), pad_(pad), settings_(settings), rules_(rules), beams_(static_cast<size_t>(settings.beams)) {
  const auto stop_count = static_cast<size_t>(std::count(stops_.begin(), stops_.end(), 1));
  keep_ = std::max<size_t>(2, 1 + stop_count) * beams_;
  for (const size_t limit : limits) {
    Row row{limit, limit > 0, std::vector<double>(beams_, never), std::vector<std::vector<int64_t>>(beams_), {}, {}};
    row.sums[0] = 0;  // at first all beams are the same one
    rows_.push_back(std::move(row));
  }
}

void BeamSearch::step(Row& row, const std::vector<double>& sums) {
  find_largest(sums.data(), sums.size(), keep_, best_);
  const size_t length = row.sequences[0].size() + 1;
  const auto ends = [&](size_t place) { return stops_[place / beams_] || length >= row.limit; };
  const auto continued = [&](size_t place) {
    std::vector<int64_t> sequence;
    sequence.reserve(length);
    sequence = row.sequences[place % beams_];
    sequence.push_back(static_cast<int64_t>(place / beams_));
    return sequence;
  };
  for (size_t rank = 0; rank < std::min(beams_, best_.size()); ++rank) {
    const size_t place = best_[rank];
    if (ends(place) && sums[place] > never / 2) row.finished.push_back({settings_.score(sums[place], length), continued(place)});
  }
  std::stable_sort(row.finished.begin(), row.finished.end(), [](const Answer& a, const Answer& b) { return a.score > b.score; });
  if (row.finished.size() > beams_) row.finished.resize(beams_);

  std::vector<double> left(best_.size());
  for (size_t rank = 0; rank < best_.size(); ++rank) left[rank] = sums[best_[rank]] + (ends(best_[rank]) ? never : 0.0);
  find_largest(left.data(), left.size(), beams_, on_);
  std::vector<std::vector<int64_t>> sequences;
  row.parents.clear();
  for (size_t beam = 0; beam < on_.size(); ++beam) {
    const size_t place = best_[on_[beam]];
    row.sums[beam] = left[on_[beam]];
    row.parents.push_back(place % beams_);
    sequences.push_back(continued(place));
  }
  row.sequences = std::move(sequences);
  const bool full = row.finished.size() == beams_;
  const bool may_go_on = std::isfinite(row.sums[0]) || row.finished.empty();  // else no beam may go on with any token
  const bool could = may_go_on && (!full || settings_.score(row.sums[0], length) > row.finished.back().score);
  row.going = length < row.limit && could && !(full && settings_.early_stop);
}

void BeamSearch::generate(Steps& model, Logits logits, const std::string& where) {
  const size_t vocabulary = logits.vocabulary;
  std::vector<double> sums(vocabulary * beams_), values(vocabulary);
  std::vector<size_t> parents(model.rows());
  std::vector<int64_t> tokens(model.rows());
  std::vector<uint8_t> active(model.rows());
  bool of_prompt = true;  // one row of logits for all beams
  while (std::any_of(rows_.begin(), rows_.end(), [](const Row& row) { return row.going; })) {
    std::iota(parents.begin(), parents.end(), size_t{0});
    std::fill(tokens.begin(), tokens.end(), pad_);
    std::fill(active.begin(), active.end(), uint8_t{0});
    bool any = false;
    for (size_t number = 0; number < rows_.size(); ++number) {
      Row& row = rows_[number];
      if (!row.going) continue;
      for (size_t beam = 0; beam < beams_; ++beam) {
        if (!of_prompt || beam == 0) {
          const size_t from = of_prompt ? number : number * beams_ + beam;
          logits.with_row(from, [&](const auto* given) { std::copy_n(given, vocabulary, values.begin()); });
          const double total = log_sum_exp(values.data(), vocabulary);
          check_finite(total, number * beams_ + beam, steps_, where);
          for (double& value : values) value -= total;
          if (rules_) rules_->apply(values.data(), number, row.sequences[beam]);
        }
        for (size_t token = 0; token < vocabulary; ++token) sums[token * beams_ + beam] = values[token] + row.sums[beam];
      }
      step(row, sums);
      if (rules_ && row.going && std::isinf(row.sums[0])) rules_->refuse(number, steps_);
      for (size_t beam = 0; beam < beams_; ++beam) {
        parents[number * beams_ + beam] = number * beams_ + row.parents[beam];
        tokens[number * beams_ + beam] = row.sequences[beam].back();
        active[number * beams_ + beam] = row.going;
      }
      any = any || row.going;
    }
    ++steps_;
    if (!any) return;
    if (steps_ > 1) model.reorder(parents, active);  // before that, all beams of a row hold its prompt
    logits = model.advance(tokens, active);
    of_prompt = false;
  }
}

BeamSearch::Answer BeamSearch::best(const Row& row) const {
  if (!row.finished.empty()) return row.finished.front();
  return {settings_.score(row.sums[0], row.sequences[0].size()), row.sequences[0]};
}

Generated BeamSearch::result() const {
  Generated made;
  made.steps = steps_;
  for (const Row& row : rows_) {
    Answer answer = best(row);
    const bool hit = !answer.tokens.empty() && stops_[static_cast<size_t>(answer.tokens.back())];
    made.stopped.push_back(hit ? Stopped::stop : Stopped::length);
    made.scores.push_back(answer.score);
    made.tokens.push_back(std::move(answer.tokens));
  }
  return made;
}

}  // namespace attn
