#include "util/names.h"

#include <algorithm>
#include <string_view>

#include "util/error.h"

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

std::string joined(const std::vector<std::string>& words, const char* between) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

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

std::string did_you_mean(const std::string& name, const std::vector<std::string>& known) {
  const auto near = nearest(name, known);
  return near ? "did you mean " + *near + "? " : "";
}

Error unknown(const char* kind, const std::string& name, const std::vector<std::string>& known, const std::string& where) {
  return usage_error("unknown " + std::string(kind) + " \"" + name + "\"; " + did_you_mean(name, known) +
                     "available: " + (known.empty() ? "(none)" : joined(known)) + " (" + where + ")");
}

}  // namespace attn
