#include "generate/graphs/common_entries.h"

#include <utility>

namespace attn {

CommonEntries::CommonEntries(const std::vector<size_t>& lengths, size_t beams) : beams_(beams) {
  for (const size_t length : lengths) counts_.insert(counts_.end(), beams * beams, length);
}

std::vector<size_t> CommonEntries::follow(const std::vector<size_t>& parents, const std::vector<size_t>& lengths) {
  // Of row `row` and that beside it which has the number of `other` in its prompt.
  const auto at = [this](size_t row, size_t other) { return row * beams_ + other % beams_; };
  std::vector<size_t> had(parents.size()), counts(counts_.size());
  for (size_t row = 0; row < parents.size(); ++row) counts_[at(row, row)] = lengths[row];
  for (size_t row = 0; row < parents.size(); ++row) {
    had[row] = counts_[at(row, parents[row])];
    const size_t first = row - row % beams_;
    for (size_t other = first; other < first + beams_; ++other) counts[at(row, other)] = counts_[at(parents[row], parents[other])];
  }
  counts_ = std::move(counts);
  return had;
}

}  // namespace attn
