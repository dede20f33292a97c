// How much of the cache two beams of a prompt have in common, so that one takes over from the other no more than the rest. The Python twin is
// attn_runtime/generate/graphs/common_entries.py.
#pragma once

#include <cstddef>
#include <vector>

namespace attn {

// For any two beams of a prompt how many entries, from the first on, were copied from one and the same row. What was computed in two rows
// does not count, even of equal tokens: where a row lies in a batch may change the last bits.
class CommonEntries {
 public:
  // At first all beams of a prompt hold its entries, `lengths` of them.
  CommonEntries(const std::vector<size_t>& lengths, size_t beams);

  // Row i, numbered through all prompts, becomes what row parents[i] of the same prompt is, of which lengths[i] entries count. Returns how
  // many of them it has already, for each row.
  std::vector<size_t> follow(const std::vector<size_t>& parents, const std::vector<size_t>& lengths);

 private:
  size_t beams_;
  std::vector<size_t> counts_;  // [prompts, beams, beams]
};

}  // namespace attn
