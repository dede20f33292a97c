#include "generate/topk.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace attn {
namespace {

bool is_before(const LargestSums::Sum& a, const LargestSums::Sum& b) { return a.value != b.value ? a.value > b.value : a.place < b.place; }

// Below it no logit's sum is as large as `least`. Sums are never less for a larger logit, rounded or not, so it is enough to look at the
// number just below; where that does not hold, as with an infinity or a NaN on the way, all logits may be large enough.
template <typename T>
T bound(double least, double total, double sum) {
  constexpr T lowest = -std::numeric_limits<T>::infinity();
  const double rounding = std::ldexp(std::fabs(least) + std::fabs(sum) + std::fabs(total), -50);
  const auto found = static_cast<T>(((least - sum) + total) - rounding);
  const double below = (static_cast<double>(std::nextafter(found, lowest)) - total) + sum;
  return below < least ? found : lowest;
}

// The first place from `at` on whose value is `least` or larger; `size` where there is none. Sixteen at a time are vector instructions.
template <typename T>
size_t next_at_least(const T* values, size_t at, size_t size, T least) {
  constexpr size_t lanes = 16;
  for (; at + lanes <= size; at += lanes) {
    int any = 0;
    for (size_t lane = 0; lane < lanes; ++lane) any |= values[at + lane] >= least;
    if (any) break;
  }
  while (at < size && values[at] < least) ++at;
  return at;
}

}  // namespace

void find_largest(const double* values, size_t size, size_t count, std::vector<size_t>& places) {
  const auto before = [values](size_t a, size_t b) { return values[a] != values[b] ? values[a] > values[b] : a < b; };
  count = std::min(count, size);
  places.clear();
  if (!count) return;
  // A heap whose top is the last of the best so far. Later places lose against equal values, so most are turned down by one comparison.
  for (size_t place = 0; place < size; ++place) {
    if (places.size() < count) {
      places.push_back(place);
      std::push_heap(places.begin(), places.end(), before);
    } else if (values[place] > values[places.front()]) {
      std::pop_heap(places.begin(), places.end(), before);
      places.back() = place;
      std::push_heap(places.begin(), places.end(), before);
    }
  }
  std::sort_heap(places.begin(), places.end(), before);
}

template <typename T>
void LargestSums::add(const T* logits, size_t vocabulary, double total, double sum, size_t beam) {
  const auto least = [&] { return found_.size() < count_ ? -std::numeric_limits<T>::infinity() : bound<T>(found_.front().value, total, sum); };
  T enough = least();
  for (size_t token = next_at_least(logits, 0, vocabulary, enough); token < vocabulary; token = next_at_least(logits, token + 1, vocabulary, enough)) {
    const Sum made{(static_cast<double>(logits[token]) - total) + sum, token * beams_ + beam};
    if (found_.size() == count_) {
      if (!is_before(made, found_.front())) continue;
      std::pop_heap(found_.begin(), found_.end(), is_before);
      found_.back() = made;
    } else {
      found_.push_back(made);
    }
    std::push_heap(found_.begin(), found_.end(), is_before);
    enough = least();
  }
}

template void LargestSums::add(const float*, size_t, double, double, size_t);
template void LargestSums::add(const double*, size_t, double, double, size_t);

const std::vector<LargestSums::Sum>& LargestSums::sorted() {
  std::sort_heap(found_.begin(), found_.end(), is_before);
  return found_;
}

}  // namespace attn
