#include "near.h"

#include <algorithm>
#include <string_view>

namespace attn {
namespace {

constexpr double similar = 0.6;
constexpr size_t longest = 256;  // names; beyond it the comparison, which is cubic, is not worth it

// Characters in common runs: the longest common run, and the same to the left and to the right of it.
size_t in_common(std::string_view a, std::string_view b) {
  size_t best = 0, best_a = 0, best_b = 0;
  std::vector<size_t> run(b.size() + 1), before(b.size() + 1);  // length of the run that ends at a[i], b[j - 1]
  for (size_t i = 0; i < a.size(); ++i) {
    before.swap(run);
    for (size_t j = 1; j <= b.size(); ++j) {
      run[j] = a[i] == b[j - 1] ? before[j - 1] + 1 : 0;
      if (run[j] > best) {
        best = run[j];
        best_a = i + 1 - best;
        best_b = j - best;
      }
    }
  }
  if (!best) return 0;
  return best + in_common(a.substr(0, best_a), b.substr(0, best_b)) + in_common(a.substr(best_a + best), b.substr(best_b + best));
}

}  // namespace

std::optional<std::string> nearest(const std::string& name, const std::vector<std::string>& known) {
  std::optional<std::string> found;
  double best = similar;
  for (const std::string& other : known) {
    if (name.size() > longest || other.size() > longest || name.empty()) continue;
    const double likeness = 2.0 * static_cast<double>(in_common(other, name)) / static_cast<double>(name.size() + other.size());
    if (likeness > best || (likeness == best && (!found || other > *found))) {
      best = likeness;
      found = other;
    }
  }
  return found;
}

}  // namespace attn
