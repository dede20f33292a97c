#include "tokenizer/models/vocabulary.h"

#include <algorithm>
#include <numeric>

namespace attn {

Vocabulary::Vocabulary(std::vector<Entry> entries) {
  const auto before = [](const Entry& one, const Entry& other) {
    const int order = one.word.compare(other.word);
    return order ? order < 0 : one.token < other.token;
  };
  std::sort(entries.begin(), entries.end(), before);
  size_t bytes = 0;
  for (const Entry& each : entries) bytes += each.word.size();
  text_.reserve(bytes);
  begins_.reserve(entries.size() + 1);
  tokens_.reserve(entries.size());
  for (const Entry& each : entries) {
    begins_.push_back(static_cast<uint32_t>(text_.size()));
    text_.append(each.word);
    tokens_.push_back(each.token);
  }
  begins_.push_back(static_cast<uint32_t>(text_.size()));
  by_token_.resize(entries.size());
  std::iota(by_token_.begin(), by_token_.end(), Place{0});
  std::stable_sort(by_token_.begin(), by_token_.end(), [this](Place one, Place other) { return tokens_[one] < tokens_[other]; });
  Place place = 0;
  while (place < size() && word(place).empty()) ++place;
  for (unsigned value = 0; value < first_.size(); ++value) {
    while (place < size() && byte(place, 0) < value) ++place;
    first_[value] = place;
  }
}

Vocabulary::Place Vocabulary::find(std::string_view wanted) const {
  if (wanted.empty()) return whole(all());
  const auto first = static_cast<unsigned char>(wanted[0]);
  // The first word behind it; before that one is the last of those that are equal.
  Place begin = first_[first], end = first_[first + 1U];
  while (begin < end) {
    const Place middle = begin + (end - begin) / 2;
    if (word(middle) <= wanted) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return begin > first_[first] && word(begin - 1) == wanted ? begin - 1 : none;
}

Vocabulary::Place Vocabulary::find_token(int64_t token) const {
  const auto found = std::lower_bound(by_token_.begin(), by_token_.end(), token,
                                      [this](Place place, int64_t wanted) { return tokens_[place] < wanted; });
  return found == by_token_.end() || tokens_[*found] != token ? none : *found;
}

std::optional<std::pair<Vocabulary::Place, Vocabulary::Place>> Vocabulary::of_one_token() const {
  const auto twin = std::adjacent_find(by_token_.begin(), by_token_.end(),
                                       [this](Place one, Place other) { return tokens_[one] == tokens_[other]; });
  if (twin == by_token_.end()) return std::nullopt;
  return std::pair(twin[0], twin[1]);
}

void Vocabulary::narrow(Range& range, unsigned char next) const {
  if (range.length == 0) {
    range = {first_[next], first_[next + 1U], 1};
    return;
  }
  const size_t at = range.length++;
  // Those without another byte are the first.
  const auto below = [&](Place place, unsigned value) { return begins_[place + 1] - begins_[place] <= at || byte(place, at) < value; };
  const auto first_not_below = [&](Place begin, Place end, unsigned value) {
    while (begin < end) {
      const Place middle = begin + (end - begin) / 2;
      if (below(middle, value)) {
        begin = middle + 1;
      } else {
        end = middle;
      }
    }
    return begin;
  };
  const Place begin = first_not_below(range.begin, range.end, next);
  // Few of the words have this byte as a rule: the end is looked for in steps that double.
  Place step = 1;
  while (range.end - begin > step && below(begin + step, next + 1U)) step *= 2;
  range.end = first_not_below(begin, step < range.end - begin ? begin + step : range.end, next + 1U);
  range.begin = begin;
}

Vocabulary::Place Vocabulary::whole(const Range& range) const {
  // Those without another byte are the first; the last of them is of the highest token.
  const auto is_whole = [&](Place place) { return begins_[place + 1] - begins_[place] == range.length; };
  if (range.empty() || !is_whole(range.begin)) return none;
  Place begin = range.begin, end = range.end;
  while (end - begin > 1) {
    const Place middle = begin + (end - begin) / 2;
    (is_whole(middle) ? begin : end) = middle;
  }
  return begin;
}

}  // namespace attn
