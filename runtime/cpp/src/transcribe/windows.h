// Where the windows lie in which a long recording is read, and which frames of each are kept. The Python twin is
// attn_runtime/tasks/transcription/windows.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace attn {

// Samples `start` up to `stop` of a recording; `left` and `right` of them are there for what they tell of the rest.
struct Window {
  int64_t start, stop, left = 0, right = 0;

  int64_t samples() const { return stop - start; }
  // The frames, of `frame` samples each, that are this window's own: from `first` up to `last`.
  struct Kept {
    int64_t first, last;
  };
  Kept kept(int64_t frame) const;
};

// Windows of up to `most` samples over `samples`, each cut in the middle of what it shares with the next.
std::vector<Window> overlapping(int64_t samples, int64_t most, int64_t frame);
// Windows of `most` samples, the last of what is left.
std::vector<Window> behind_each_other(int64_t samples, int64_t most);
// How many of `windows` from `begin` on, up to `most`, are as long as the first of them.
size_t equally_long(const std::vector<Window>& windows, size_t begin, size_t most);

}  // namespace attn
