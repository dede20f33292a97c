#include "generate/lookup/drafts.h"

#include <algorithm>
#include <functional>

namespace attn {
namespace {

constexpr size_t first = 3;  // tokens of the first guess, and of one that is made again after guesses were wrong
constexpr size_t right_again = 2;

}  // namespace

Drafts::Drafts(const std::vector<int64_t>& source, const std::vector<int64_t>& begun, size_t most) : most_(most), length_(std::min(first, most)) {
  add(source);
  begin_ = tokens_.size();
  add(begun);
}

std::vector<int64_t> Drafts::guess(size_t most) {
  const size_t count = std::min(length_, most);
  guess_ = next(std::max<size_t>(1, count));
  return {guess_.begin(), guess_.begin() + static_cast<std::ptrdiff_t>(std::min(count, guess_.size()))};
}

void Drafts::take(const std::vector<int64_t>& chosen, size_t fed) {
  const size_t right = chosen.size() - 1;
  if (fed) {
    right_ = 0;
    if (right == fed) {
      length_ = std::min(most_, 2 * std::max(fed, length_));
    } else {
      length_ = std::min(most_, std::max(right ? right + 1 : 0, length_ / 2));
    }
  } else if (length_ == 0) {
    right_ = !guess_.empty() && guess_[0] == chosen[0] ? right_ + 1 : 0;
    if (right_ >= right_again) {
      right_ = 0;
      length_ = std::min(first, most_);
    }
  }
  add(chosen);
}

Drafts::Key Drafts::last(size_t size) const {
  Key key{};
  std::copy(tokens_.end() - static_cast<std::ptrdiff_t>(size), tokens_.end(), key.begin());
  return key;
}

void Drafts::add(const std::vector<int64_t>& tokens) {
  for (const int64_t token : tokens) {
    const size_t place = tokens_.size();
    for (size_t size = 1; size <= std::min(longest, place - begin_); ++size) behind_[size - 1][last(size)] = place;
    tokens_.push_back(token);
  }
}

std::vector<int64_t> Drafts::next(size_t most) const {
  std::vector<int64_t> found;
  const size_t end = tokens_.size();
  for (size_t size = std::min(longest, end - begin_); size > 0; --size) {
    const auto match = behind_[size - 1].find(last(size));
    if (match == behind_[size - 1].end()) continue;
    // A match in the source ends where that does; one in the row may run into the guess itself, so that what repeats is guessed on.
    for (size_t at = match->second; found.size() < most && !(match->second < begin_ && at == begin_); ++at) {
      found.push_back(at < end ? tokens_[at] : found[at - end]);
    }
    break;
  }
  return found;
}

size_t together(std::vector<size_t> lengths) {
  if (lengths.empty()) return 0;
  std::sort(lengths.begin(), lengths.end(), std::greater<>());
  return lengths[(lengths.size() - 1) / 2];
}

}  // namespace attn
