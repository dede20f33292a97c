// What a search for answers leaves behind. The Python twin is attn_runtime/generate/result.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace attn {

enum class Stopped { stop, length, cancelled, deadline };  // the values of attn_stopped

// One answer for each row.
struct Generated {
  std::vector<std::vector<int64_t>> tokens;  // without begin and prompt, with the stop token where there is one
  std::vector<double> scores;                // sums of log probabilities over length to the power of length_penalty; or empty
  std::vector<Stopped> stopped;
  size_t steps = 0;  // tokens chosen for the row that took longest
  size_t drafted = 0, accepted = 0;  // with `lookup`, how many tokens were guessed and fed, and how many of them were written
};

}  // namespace attn
