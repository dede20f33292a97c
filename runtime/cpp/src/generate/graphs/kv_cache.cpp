#include "generate/graphs/kv_cache.h"

#include <algorithm>
#include <cstring>

namespace attn {

int64_t capacity_for(int64_t entries, std::pair<int64_t, int64_t> allowed) {
  int64_t power = smallest_capacity;
  while (power < entries && power < allowed.second) power *= 2;
  return std::min(std::max(power, allowed.first), allowed.second);
}

Entries::Entries(const std::vector<TensorSpec>& specs, int64_t rows, int64_t places) {
  for (const TensorSpec& spec : specs) parts.emplace_back(spec.name, spec.dtype, Shape{rows, spec.dims[1].opt, places, spec.dims[3].opt});
}

void Entries::copy(size_t row, size_t place, const Entries& source, size_t source_row, size_t source_place, size_t rows, size_t places) {
  for (size_t part = 0; part < parts.size(); ++part) {
    const Tensor &to = parts[part], &from = source.parts[part];
    const auto heads = static_cast<size_t>(to.shape[1]), size = static_cast<size_t>(to.shape[3]) * size_of(to.dtype);
    const size_t to_line = static_cast<size_t>(to.shape[2]) * size, from_line = static_cast<size_t>(from.shape[2]) * size;
    char* target = static_cast<char*>(to.buffer.data()) + row * heads * to_line + place * size;
    const char* origin = static_cast<const char*>(from.buffer.data()) + source_row * heads * from_line + source_place * size;
    for (size_t line = 0; line < rows * heads; ++line) std::memcpy(target + line * to_line, origin + line * from_line, places * size);
    moved += rows * heads * places * size;
  }
}

void Entries::clear() {
  for (const Tensor& part : parts) std::memset(part.buffer.data(), 0, part.buffer.bytes());
}

KvCache::KvCache(const std::vector<TensorSpec>& specs, int64_t rows, int64_t capacity)
    : past(specs, rows, capacity),
      mask("past_mask", ATTN_BOOL, {rows, capacity}),
      specs_(specs),
      capacity_(capacity),
      rows_(static_cast<size_t>(rows)) {}

void KvCache::clear() {
  std::memset(mask.buffer.data(), 0, mask.buffer.bytes());
  past.clear();  // what is masked is multiplied by zero, which must not be a NaN of an earlier generation
}

void KvCache::put_prompt(const Entries& prompt, const std::vector<size_t>& lengths, size_t copies) {
  size_t longest = 0;
  for (size_t row = 0; row < lengths.size(); ++row) {
    const size_t length = std::min(lengths[row], static_cast<size_t>(capacity_));
    longest = std::max(longest, length);
    for (size_t target = row * copies; target < (row + 1) * copies; ++target) {
      if (copies > 1) past.copy(target, 0, prompt, row, 0, 1, length);
      std::memset(mask_row(target), 1, length);
    }
  }
  if (copies == 1) past.copy(0, 0, prompt, 0, 0, rows_, longest);
}

void KvCache::put(const Entries& fresh, size_t place) {
  past.copy(0, place, fresh, 0, 0, rows_, 1);
  for (size_t row = 0; row < rows_; ++row) mask_row(row)[place] = 1;
}

void KvCache::put_row(const Entries& fresh, size_t row, size_t place) {
  past.copy(row, place, fresh, row, 0, 1, 1);
  mask_row(row)[place] = 1;
}

void KvCache::put_several(const Entries& fresh, size_t row, size_t rows, size_t place, size_t count) {
  past.copy(row, place, fresh, row, 0, rows, count);
  for (size_t each = row; each < row + rows; ++each) std::memset(mask_row(each) + place, 1, count);
}

void KvCache::fill(size_t row, size_t entries) {
  std::memset(mask_row(row), 1, entries);
  std::memset(mask_row(row) + entries, 0, static_cast<size_t>(capacity_) - entries);
}

void KvCache::reorder(const std::vector<size_t>& parents, const std::vector<size_t>& firsts, const std::vector<size_t>& lengths) {
  const auto done = moves(parents);
  for (auto move = done.begin(); move != done.end(); ++move) {
    const auto [target, source] = *move;
    if ((target == spare_row || source == spare_row) && !spare_) spare_.emplace(specs_, 1, capacity_);
    // What goes to the spare row is fetched from there by one row, before anything else is put there.
    const auto reader = target == spare_row ? std::find_if(move, done.end(), [](const auto& each) { return each.second == spare_row; }) : move;
    const size_t row = reader->first, first = firsts[row], count = lengths[row] - first;
    if (target == spare_row) {
      spare_->copy(0, first, past, source, first, 1, count);
    } else if (source == spare_row) {
      past.copy(target, first, *spare_, 0, first, 1, count);
    } else {
      past.copy(target, first, past, source, first, 1, count);
    }
  }
}

void KvCache::take_over(const KvCache& smaller) {
  past.copy(0, 0, smaller.past, 0, 0, rows_, static_cast<size_t>(smaller.capacity_));
  const auto count = static_cast<size_t>(smaller.capacity_);
  for (size_t row = 0; row < rows_; ++row) std::memcpy(mask_row(row), smaller.mask.view().as<uint8_t>() + row * count, count);
}

std::vector<std::pair<size_t, size_t>> moves(const std::vector<size_t>& parents) {
  // A row is written once nobody waits for what it holds. What is left then are circles: of each, one row goes to the spare.
  std::vector<std::pair<size_t, size_t>> found;
  std::vector<size_t> source = parents, readers(parents.size(), 0), ready;
  std::vector<bool> waits(parents.size());
  size_t waiting = 0;
  for (size_t row = 0; row < parents.size(); ++row) {
    waits[row] = parents[row] != row;
    if (!waits[row]) continue;
    ++readers[parents[row]];
    ++waiting;
  }
  for (size_t row = 0; row < parents.size(); ++row) {
    if (waits[row] && !readers[row]) ready.push_back(row);
  }
  for (size_t next = 0; waiting > 0;) {
    if (ready.empty()) {
      while (!waits[next]) ++next;
      found.emplace_back(spare_row, next);
      size_t reader = 0;
      while (!waits[reader] || source[reader] != next) ++reader;
      source[reader] = spare_row;
      ready.push_back(next);
    }
    const size_t row = ready.back();
    ready.pop_back();
    waits[row] = false;
    --waiting;
    found.emplace_back(row, source[row]);
    if (source[row] == spare_row) continue;
    const size_t freed = source[row];
    if (--readers[freed] == 0 && waits[freed]) ready.push_back(freed);
  }
  return found;
}

}  // namespace attn
