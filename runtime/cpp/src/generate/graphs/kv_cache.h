// The past keys and values of every row, in buffers of one capacity. Nothing here grows with each step: one entry a row is written, and the
// mask's bit for it is set. When the buffers are full, ones of twice the capacity take their place, so that all the copying of a generation
// of n tokens comes to less than 2n entries. The Python twin is attn_runtime/generate/graphs/kv_cache.py.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "util/tensor.h"

namespace attn {

constexpr int64_t smallest_capacity = 16;  // fewest entries of a cache that may be smaller: below it a step gets no faster

// The least power of two, 16 or more, that holds so many entries; within what the graph allows.
int64_t capacity_for(int64_t entries, std::pair<int64_t, int64_t> allowed);

// One tensor [rows, heads, places, size] for each name of the cache.
class Entries {
 public:
  // `specs` are the step's past_* inputs, [batch, heads, entries, head_size].
  Entries(const std::vector<TensorSpec>& specs, int64_t rows, int64_t places);

  // Let `rows` rows and `places` places here, from (row, place) on, be those of `source`, in all heads. What overlaps must not be copied
  // within one.
  void copy(size_t row, size_t place, const Entries& source, size_t source_row, size_t source_place, size_t rows, size_t places);
  void clear();

  std::vector<Tensor> parts;  // in the order of the specs
  uint64_t moved = 0;         // bytes written by copies so far
};

class KvCache {
 public:
  KvCache(const std::vector<TensorSpec>& specs, int64_t rows, int64_t capacity);

  int64_t capacity() const { return capacity_; }
  void clear();
  // Take over the entries of a prompt: row i of it goes to the rows i * copies and up, `copies` of them. Of a prompt that is longer than
  // the cache, which leaves no room for an answer, what fits.
  void put_prompt(const Entries& prompt, const std::vector<size_t>& lengths, size_t copies);
  // Write the newest entry of every row to one place, or of one row to its own.
  void put(const Entries& fresh, size_t place);
  void put_row(const Entries& fresh, size_t row, size_t place);
  // Write the first `count` of the newest entries of `rows` rows from `row` on, from `place` on.
  void put_several(const Entries& fresh, size_t row, size_t rows, size_t place, size_t count);
  // Let the mask of a row tell of so many entries.
  void fill(size_t row, size_t entries);
  // Let row i hold what row parents[i] holds, of which lengths[i] entries count, as many as row i has now, and those before firsts[i] are in
  // both already. In place, and only rows that another one takes the place of are copied. Masks stay: rows that go on from one another are
  // of one prompt.
  void reorder(const std::vector<size_t>& parents, const std::vector<size_t>& firsts, const std::vector<size_t>& lengths);
  // Let this cache, which is clear, hold what a smaller one holds.
  void take_over(const KvCache& smaller);

  Entries past;
  Tensor mask;  // bool [rows, capacity]: which entries are filled

 private:
  uint8_t* mask_row(size_t row) { return mask.view().as<uint8_t>() + row * static_cast<size_t>(capacity_); }

  std::vector<TensorSpec> specs_;
  int64_t capacity_;
  size_t rows_;
  std::optional<Entries> spare_;
};

constexpr size_t spare_row = static_cast<size_t>(-1);  // a row that is none of the cache's

// (target, source) copies, one after the other, that let row i hold what row parents[i] held, with one spare row.
std::vector<std::pair<size_t, size_t>> moves(const std::vector<size_t>& parents);

}  // namespace attn
