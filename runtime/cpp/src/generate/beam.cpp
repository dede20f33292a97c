#include "generate/beam.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

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

void BeamSearch::step(Row& row, const std::vector<LargestSums::Sum>& best) {
  const size_t length = row.sequences[0].size() + 1;
  const auto ends = [&](size_t place) { return stops_[place / beams_] || length >= row.limit; };
  const auto continued = [&](size_t place) {
    std::vector<int64_t> sequence;
    sequence.reserve(length);
    sequence = row.sequences[place % beams_];
    sequence.push_back(static_cast<int64_t>(place / beams_));
    return sequence;
  };
  for (size_t rank = 0; rank < std::min(beams_, best.size()); ++rank) {
    const auto [sum, place] = best[rank];
    if (ends(place) && sum > never / 2) row.finished.push_back({settings_.score(sum, length), continued(place)});
  }
  std::stable_sort(row.finished.begin(), row.finished.end(), [](const Answer& a, const Answer& b) { return a.score > b.score; });
  if (row.finished.size() > beams_) row.finished.resize(beams_);

  std::vector<double> left;
  for (const auto& [sum, place] : best) left.push_back(sum + (ends(place) ? never : 0.0));
  find_largest(left.data(), left.size(), beams_, on_);
  std::vector<std::vector<int64_t>> sequences;
  row.parents.clear();
  for (size_t beam = 0; beam < on_.size(); ++beam) {
    const size_t place = best[on_[beam]].place;
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
  LargestSums sums(keep_, beams_);
  std::vector<double> ruled(rules_ ? vocabulary : 0);
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
      sums.clear();
      double total = 0;
      for (size_t beam = 0; beam < beams_; ++beam) {
        const size_t from = of_prompt ? number : number * beams_ + beam;
        const bool is_new = !of_prompt || beam == 0;
        if (is_new) {
          total = log_sum_exp(logits, from);
          check_finite(total, number * beams_ + beam, steps_, where);
        }
        logits.with_row(from, [&](const auto* given) {
          if (!rules_) return sums.add(given, vocabulary, total, row.sums[beam], beam);
          if (is_new) {
            std::transform(given, given + vocabulary, ruled.begin(), [total](auto each) { return static_cast<double>(each) - total; });
            rules_->apply(ruled.data(), number, row.sequences[beam]);
          }
          sums.add(ruled.data(), vocabulary, 0, row.sums[beam], beam);
        });
      }
      step(row, sums.sorted());
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
