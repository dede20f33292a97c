#include "generate/topk.h"

#include <algorithm>

namespace attn {

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

}  // namespace attn
