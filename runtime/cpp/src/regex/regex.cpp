#include "regex/regex.h"

#include <algorithm>
#include <cstdint>
#include <utility>

namespace attn {
namespace {

constexpr size_t none = static_cast<size_t>(-1);
// How many splits from one place go without notes: nearly all matches need fewer.
constexpr size_t splits_without_notes = 256;

using Kind = Instruction::Kind;
using Assertion = PatternNode::Assertion;

// Which splits have been at which places of a text, from `begin` on, in vain.
class Notes {
 public:
  void open(size_t columns, size_t begin, size_t places) {
    columns_ = columns;
    begin_ = begin;
    bits_.assign((columns * places + 63) / 64, 0);
  }
  bool are_kept() const { return !bits_.empty(); }
  // Whether this is the second time.
  bool seen(size_t column, size_t place) {
    const size_t bit = (place - begin_) * columns_ + column;
    const uint64_t mask = uint64_t{1} << bit % 64;
    const bool before = bits_[bit / 64] & mask;
    bits_[bit / 64] |= mask;
    return before;
  }
  void forget(size_t place) {
    for (size_t bit = (place - begin_) * columns_; bit < (place - begin_ + 1) * columns_; ++bit) {
      bits_[bit / 64] &= ~(uint64_t{1} << bit % 64);
    }
  }

 private:
  std::vector<uint64_t> bits_;
  size_t columns_ = 0, begin_ = 0;
};

struct Branch {
  uint32_t instruction;
  size_t place;
};

class Search {
 public:
  Search(const Program& program, const std::u32string& text) : program_(program), text_(text), runs_(program.runs, {0, 0}) {}

  // Where the match ends that begins at `begin`, no earlier than that of the call before; none where there is none.
  size_t match(size_t begin) {
    const size_t end = follow(0, begin, text_.size(), notes_, branches_);
    // What led to a match was not in vain.
    if (end != none && notes_.are_kept()) notes_.forget(end);
    return end;
  }

 private:
  size_t follow(uint32_t instruction, size_t begin, size_t last, Notes& notes, std::vector<Branch>& branches) {
    branches.clear();
    size_t place = begin, splits = 0;
    for (;;) {
      const Instruction& now = program_.instructions[instruction++];
      bool goes_on = true;
      switch (now.kind) {
        case Kind::set:
          goes_on = place < text_.size() && program_.sets[now.a].contains(text_[place]);
          ++place;
          break;
        case Kind::run:
          place = run_end(now, place);
          break;
        case Kind::split:
          if (++splits == splits_without_notes && !notes.are_kept()) notes.open(program_.splits, begin, last - begin + 1);
          if (notes.are_kept() && notes.seen(now.column, place)) {
            goes_on = false;
          } else {
            branches.push_back({now.b, place});
            instruction = now.a;
          }
          break;
        case Kind::jump:
          instruction = now.a;
          break;
        case Kind::assert:
          goes_on = holds(static_cast<Assertion>(now.a), place);
          break;
        case Kind::look:
          goes_on = looks_at(instruction, place) != now.negative;
          instruction = now.b;
          break;
        case Kind::ahead:
          goes_on = (place < text_.size() && program_.sets[now.a].contains(text_[place])) != now.negative;
          break;
        case Kind::behind:
          goes_on = (place > 0 && program_.sets[now.a].contains(text_[place - 1])) != now.negative;
          break;
        case Kind::match:
          return place;
      }
      if (goes_on) continue;
      if (branches.empty()) return none;
      instruction = branches.back().instruction;
      place = branches.back().place;
      branches.pop_back();
    }
  }

  bool looks_at(uint32_t instruction, size_t place) const {
    // A search of its own, over so little text that its notes are small.
    Search inner(program_, text_);
    const size_t last = std::min(text_.size(), place + PatternNode::longest_look);
    return inner.follow(instruction, place, last, inner.notes_, inner.branches_) != none;
  }

  size_t run_end(const Instruction& run, size_t begin) {
    const CharacterSet& set = program_.sets[run.a];
    auto& [first, last] = runs_[run.column];
    if (run.b == Program::no_limit && first <= begin && begin < last) return last;
    const size_t most = std::min<size_t>(run.b, text_.size() - begin);
    size_t end = begin;
    while (end - begin < most && set.contains(text_[end])) ++end;
    first = begin;
    last = end;
    return end;
  }

  bool holds(Assertion which, size_t place) const {
    const bool at_end = place == text_.size();
    switch (which) {
      case Assertion::line_begin:
        return place == 0 || (text_[place - 1] == '\n' && !at_end);
      case Assertion::line_end:
        return at_end || text_[place] == '\n';
      case Assertion::text_begin:
        return place == 0;
      case Assertion::text_end:
        return at_end;
      case Assertion::last_line_end:
        return at_end || (place + 1 == text_.size() && text_[place] == '\n');
      case Assertion::word_border:
        return is_word_before(place) != is_word_at(place);
      case Assertion::no_word_border:
        return is_word_before(place) == is_word_at(place);
    }
    return false;
  }
  bool is_word_at(size_t place) const { return place < text_.size() && properties_of(text_[place]).is_word(); }
  bool is_word_before(size_t place) const { return place > 0 && is_word_at(place - 1); }

  const Program& program_;
  const std::u32string& text_;
  std::vector<std::pair<size_t, size_t>> runs_;  // the last one of each run without a limit
  Notes notes_;
  std::vector<Branch> branches_;
};

}  // namespace

std::vector<Regex::Match> Regex::find_all(const std::u32string& text) const {
  std::vector<Match> found;
  if (text.empty()) return found;
  Search search(program_, text);
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = search.match(begin);
    const bool again = end == begin && !found.empty() && found.back().end == end;
    if (end == none || again) {
      ++begin;
      continue;
    }
    found.push_back({begin, end});
    begin = end;
  }
  return found;
}

}  // namespace attn
