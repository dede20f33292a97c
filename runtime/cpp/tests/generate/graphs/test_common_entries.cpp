// What two beams have in common, held against caches that are lists of entries.
#include <gtest/gtest.h>

#include "generate/graphs/common_entries.h"
#include "util/random.h"

namespace attn {
namespace {

TEST(CommonEntries, AreAllThatAgreesAndNoMore) {
  RandomStream stream(5);
  for (const size_t beams : {1U, 2U, 4U}) {
    const std::vector<size_t> prompts = {3, 1, 4};
    CommonEntries common(prompts, beams);
    int entry = 0;  // each one once: rows agree only where one was copied from the other
    std::vector<std::vector<int>> rows;
    for (const size_t length : prompts) {
      std::vector<int> prompt(length);
      for (int& each : prompt) each = entry++;
      rows.insert(rows.end(), beams, prompt);
    }
    for (int step = 0; step < 40; ++step) {
      std::vector<size_t> parents, lengths;
      for (size_t row = 0; row < rows.size(); ++row) {
        rows[row].push_back(entry++);
        lengths.push_back(rows[row].size());
        parents.push_back(row - row % beams + static_cast<size_t>(stream.next() * static_cast<double>(beams)));
      }
      const std::vector<size_t> had = common.follow(parents, lengths);
      const auto before = rows;
      for (size_t row = 0; row < rows.size(); ++row) {
        size_t alike = 0;
        while (alike < lengths[row] && before[row][alike] == before[parents[row]][alike]) ++alike;
        EXPECT_EQ(had[row], alike) << "step " << step;
        rows[row] = before[parents[row]];
      }
    }
  }
}

}  // namespace
}  // namespace attn
