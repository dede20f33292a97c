#include "bundle/pattern.h"

#include <algorithm>
#include <memory>
#include <stdexcept>

#include "format/json.h"

namespace attn {

// Reads the pattern into a tree, and writes the tree as steps from its end to its beginning, so that each step knows what follows.
class PatternReader {
 public:
  PatternReader(std::string_view pattern, Pattern& into) : text_(code_points(pattern)), into_(into) {}

  void read() {
    if (text_.size() < 2 || text_.front() != U'^' || text_.back() != U'$') wrong("it is not anchored at both ends");
    text_ = text_.substr(1, text_.size() - 2);
    const auto tree = choice();
    if (at_ != text_.size()) wrong("a ) without (");
    into_.begin_ = write(*tree, add({Pattern::Step::end}));
  }

 private:
  struct Node {
    enum Kind { character, sequence, choice, repeat } kind;
    size_t of = 0;                    // the class of a character
    size_t least = 0, most = 0;       // of repeat; `forever` as most
    std::vector<std::unique_ptr<Node>> inner = {};
  };
  static constexpr size_t forever = SIZE_MAX;

  [[noreturn]] void wrong(const std::string& what) const { throw std::invalid_argument("schema pattern: " + what); }
  bool more() const { return at_ < text_.size(); }
  bool take(char32_t c) {
    const bool here = more() && text_[at_] == c;
    at_ += here;
    return here;
  }
  char32_t next() {
    if (!more()) wrong("it ends too early");
    return text_[at_++];
  }

  std::unique_ptr<Node> choice() {
    auto node = std::make_unique<Node>(Node{Node::choice});
    do {
      auto part = std::make_unique<Node>(Node{Node::sequence});
      while (more() && text_[at_] != U'|' && text_[at_] != U')') part->inner.push_back(repeated());
      node->inner.push_back(std::move(part));
    } while (take(U'|'));
    return node;
  }

  std::unique_ptr<Node> repeated() {
    auto node = one();
    for (;;) {
      size_t least = 0, most = forever;
      if (take(U'?')) {
        most = 1;
      } else if (take(U'+')) {
        least = 1;
      } else if (take(U'{')) {
        least = most = number();
        if (take(U',')) most = more() && text_[at_] == U'}' ? forever : number();
        if (!take(U'}')) wrong("a { without }");
      } else if (!take(U'*')) {
        return node;
      }
      auto outer = std::make_unique<Node>(Node{Node::repeat, 0, least, most});
      outer->inner.push_back(std::move(node));
      node = std::move(outer);
    }
  }

  std::unique_ptr<Node> one() {
    if (take(U'(')) {
      auto node = choice();
      if (!take(U')')) wrong("a ( without )");
      return node;
    }
    Pattern::Class found;
    if (take(U'[')) {
      found.negated = take(U'^');
      while (!take(U']')) {
        const char32_t low = escaped();
        const bool range = at_ + 1 < text_.size() && text_[at_] == U'-' && text_[at_ + 1] != U']';
        at_ += range;
        found.ranges.emplace_back(low, range ? escaped() : low);
      }
    } else {
      if (std::u32string_view(U".^$*+?{").find(text_[at_]) != std::u32string_view::npos) wrong("a sign that is not read here");
      const char32_t c = escaped();
      found.ranges.emplace_back(c, c);
    }
    into_.classes_.push_back(std::move(found));
    return std::make_unique<Node>(Node{Node::character, into_.classes_.size() - 1});
  }

  char32_t escaped() {
    const char32_t c = next();
    if (c != U'\\') return c;
    const char32_t sign = next();
    if (sign == U'u') {
      char32_t value = 0;
      for (int digit = 0; digit < 4; ++digit) {
        const char32_t d = next();
        const size_t found = std::u32string_view(U"0123456789abcdefABCDEF").find(d);
        if (found == std::u32string_view::npos) wrong("\\u without four digits");
        value = value * 16 + static_cast<char32_t>(found < 16 ? found : found - 6);
      }
      return value;
    }
    if ((sign >= U'a' && sign <= U'z') || (sign >= U'A' && sign <= U'Z') || (sign >= U'0' && sign <= U'9')) wrong("an escaped letter");
    return sign;
  }

  size_t number() {
    size_t value = 0, digits = 0;
    for (; more() && text_[at_] >= U'0' && text_[at_] <= U'9'; ++digits) value = value * 10 + (text_[at_++] - U'0');
    if (!digits || digits > 4) wrong("a { without a number");
    return value;
  }

  size_t add(Pattern::Step step) {
    into_.steps_.push_back(step);
    return into_.steps_.size() - 1;
  }

  // The first step of `node`, which goes on at `next`.
  size_t write(const Node& node, size_t next) {
    switch (node.kind) {
      case Node::character: return add({Pattern::Step::character, next, 0, node.of});
      case Node::sequence:
        for (auto part = node.inner.rbegin(); part != node.inner.rend(); ++part) next = write(**part, next);
        return next;
      case Node::choice: {
        size_t begin = write(*node.inner.back(), next);
        for (size_t i = node.inner.size() - 1; i-- > 0;) {
          const size_t first = write(*node.inner[i], next);
          begin = add({Pattern::Step::split, first, begin});
        }
        return begin;
      }
      case Node::repeat: break;
    }
    const Node& inner = *node.inner.front();
    const size_t end = next;
    if (node.most == forever) {
      const size_t loop = add({Pattern::Step::split, 0, end});
      const size_t first = write(inner, loop);
      into_.steps_[loop].next = first;
      next = loop;
    } else {
      for (size_t i = node.least; i < node.most; ++i) {
        const size_t first = write(inner, next);
        next = add({Pattern::Step::split, first, end});
      }
    }
    for (size_t i = 0; i < node.least; ++i) next = write(inner, next);
    return next;
  }

  std::u32string text_;
  size_t at_ = 0;
  Pattern& into_;
};

Pattern::Pattern(std::string_view pattern) { PatternReader(pattern, *this).read(); }

bool Pattern::Class::holds(char32_t c) const {
  const bool in = std::any_of(ranges.begin(), ranges.end(), [c](auto& range) { return c >= range.first && c <= range.second; });
  return in != negated;
}

// Adds `step`, or what a split leads to, to the states that are alive. As deep as the pattern is long.
void Pattern::reach(size_t step, std::vector<size_t>& states, std::vector<uint32_t>& marks, uint32_t mark) const {
  if (marks[step] == mark) return;
  marks[step] = mark;
  if (steps_[step].kind == Step::split) {
    reach(steps_[step].next, states, marks, mark);
    reach(steps_[step].other, states, marks, mark);
  } else {
    states.push_back(step);
  }
}

bool Pattern::matches(const std::u32string& text) const {
  std::vector<uint32_t> marks(steps_.size(), 0);
  std::vector<size_t> states, after;
  uint32_t mark = 1;
  reach(begin_, states, marks, mark);
  for (const char32_t c : text) {
    ++mark;
    after.clear();
    for (const size_t state : states) {
      const Step& step = steps_[state];
      if (step.kind == Step::character && classes_[step.of].holds(c)) reach(step.next, after, marks, mark);
    }
    states.swap(after);
    if (states.empty()) return false;
  }
  return std::any_of(states.begin(), states.end(), [this](size_t state) { return steps_[state].kind == Step::end; });
}

}  // namespace attn
