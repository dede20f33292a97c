#include "util/names.h"

#include <algorithm>

#include "util/error.h"

namespace attn {

std::string joined(const std::vector<std::string>& words, const char* between) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

std::optional<std::string> nearest(const std::string& name, const std::vector<std::string>& known) {
  constexpr size_t longest = 256;
  std::optional<std::string> found;
  size_t best = name.size() / 3 + 1;  // changes: with as many, it is another word
  for (const std::string& other : known) {
    if (name.size() > longest || other.size() > longest) continue;
    // Distances of the name's first i letters from the first j of the other; two neighbours that changed places are one change.
    std::vector<std::vector<size_t>> away(name.size() + 1, std::vector<size_t>(other.size() + 1));
    for (size_t i = 0; i <= name.size(); ++i) {
      for (size_t j = 0; j <= other.size(); ++j) {
        if (!i || !j) {
          away[i][j] = i + j;
          continue;
        }
        away[i][j] = std::min({away[i - 1][j] + 1, away[i][j - 1] + 1, away[i - 1][j - 1] + (name[i - 1] != other[j - 1])});
        const bool swapped = i > 1 && j > 1 && name[i - 1] == other[j - 2] && name[i - 2] == other[j - 1];
        if (swapped) away[i][j] = std::min(away[i][j], away[i - 2][j - 2] + 1);
      }
    }
    if (away.back().back() < best) best = away.back().back(), found = other;
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
