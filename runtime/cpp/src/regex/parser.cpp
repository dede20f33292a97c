#include "regex/parser.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "util/unicode.h"

namespace attn {
namespace {

constexpr size_t most_characters = 8192, most_repeats = 1000, most_depth = 64;
constexpr char32_t long_s = 0x17F, kelvin = 0x212A;  // other cases of "s" and "k"
// Letters that are another letter together where case is ignored: "ss" is U+00DF.
constexpr const char* joined_letters[] = {"ss", "ff", "fi", "fl", "st"};

using Node = PatternNode;

bool is_ascii_letter(char32_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool may_have_cases(char32_t c) {
  const Category category = properties_of(c).category();
  return c >= 0x80 && (category == Category::Ll || category == Category::Lu || category == Category::Lt || category == Category::Lm ||
                       category == Category::Mn || category == Category::Nl || category == Category::So);
}

void add_cases(CharacterSet& set, char32_t letter) {
  set.add(CharacterSet::one(letter ^ 0x20));
  if ((letter | 0x20) == 's') set.add(CharacterSet::one(long_s));
  if ((letter | 0x20) == 'k') set.add(CharacterSet::one(kelvin));
}

class Parser {
 public:
  explicit Parser(const std::u32string& pattern) : pattern_(pattern) {}

  Node parse() {
    if (pattern_.size() > most_characters) refuse_pattern(most_characters, "more than 8192 characters are not supported");
    Node whole = alternatives(false);
    if (!done()) refuse("a \")\" closes nothing");
    return whole;
  }

 private:
  bool done() const { return at_ >= pattern_.size(); }
  char32_t next() const { return pattern_[at_]; }
  bool looks_at(const std::u32string& text) const { return pattern_.compare(at_, text.size(), text) == 0; }
  bool take(const std::u32string& text) {
    if (!looks_at(text)) return false;
    at_ += text.size();
    return true;
  }
  [[noreturn]] void refuse(const std::string& problem) const { refuse_pattern(at_, problem); }
  char32_t taken() {
    if (done()) refuse("the pattern ends too early");
    return pattern_[at_++];
  }

  Node alternatives(bool ignore_case) {
    if (++depth_ > most_depth) refuse("groups more than 64 deep are not supported");
    Node found;
    found.kind = Node::Kind::alternatives;
    found.place = at_;
    do {
      found.parts.push_back(sequence(ignore_case));
    } while (take(U"|"));
    --depth_;
    return found.parts.size() == 1 ? std::move(found.parts[0]) : found;
  }

  Node sequence(bool ignore_case) {
    Node found;
    found.place = at_;
    char32_t before = 0;  // a letter that stands right in front, where case is ignored
    while (!done() && next() != '|' && next() != ')') {
      const size_t place = at_;
      const bool letter = ignore_case && is_ascii_letter(next());
      if (letter) expect_two_letters(before, next());
      before = letter ? next() : 0;
      if (const auto option = isolated_option()) {  // it holds up to the end of the group, across alternatives
        found.parts.push_back(alternatives(*option));
        break;
      }
      Node one = atom(ignore_case);
      one.place = place;
      found.parts.push_back(repeated(std::move(one)));
    }
    return found;
  }

  void expect_two_letters(char32_t first, char32_t second) const {
    for (const char* pair : joined_letters) {
      if ((first | 0x20) == static_cast<char32_t>(pair[0]) && (second | 0x20) == static_cast<char32_t>(pair[1])) {
        refuse(std::string("\"") + pair + "\" where case is ignored, which may be one letter, is not supported");
      }
    }
  }

  std::optional<bool> isolated_option() {
    if (take(U"(?i)")) return true;
    if (take(U"(?-i)")) return false;
    return std::nullopt;
  }

  Node repeated(Node one) {
    bool quantified = false;
    while (!done()) {
      Node made;
      made.kind = Node::Kind::repeat;
      made.place = at_;
      const bool counted = next() == '{';
      if (!quantifier(made)) break;
      if (one.kind == Node::Kind::assertion || one.kind == Node::Kind::look) refuse("a repeat of what takes no characters is not supported");
      if (take(U"?")) {
        if (counted && made.least == made.most) refuse("\"{n}?\" is not supported");
        made.mode = Node::Mode::lazy;
      } else if (!counted && take(U"+")) {  // behind "{...}" it is another repeat
        made.mode = Node::Mode::possessive;
        if (one.kind != Node::Kind::set) refuse("a possessive repeat of more than one character is not supported");
      }
      if (quantified && made.least != 1) refuse("this repeat of a repeat is not supported");
      if (made.most == Node::unbounded && one.may_be_empty()) refuse("a repeat of what may be empty is not supported");
      quantified = true;
      made.parts.push_back(std::move(one));
      one = std::move(made);
    }
    return one;
  }

  // Whether a quantifier stands here, which is read into `made`.
  bool quantifier(Node& made) {
    made.most = Node::unbounded;
    if (take(U"*")) return true;
    made.least = 1;
    if (take(U"+")) return true;
    made.least = 0;
    made.most = 1;
    if (take(U"?")) return true;
    if (next() != '{') return false;
    const size_t begin = at_++;
    const auto least = number();
    const bool comma = take(U",");
    const auto most = comma ? number() : least;
    if (!take(U"}") || (!least && !most)) {
      at_ = begin;  // a brace that is none
      return false;
    }
    made.least = least.value_or(0);
    made.most = comma && !most ? Node::unbounded : *most;
    if (made.least > made.most) refuse("a repeat whose least is above its most is not supported");
    if (made.least > most_repeats || (made.most != Node::unbounded && made.most > most_repeats)) {
      refuse("more than 1000 repeats are not supported");
    }
    return true;
  }

  std::optional<size_t> number() {
    if (done() || next() < '0' || next() > '9') return std::nullopt;
    size_t value = 0;
    for (; !done() && next() >= '0' && next() <= '9'; ++at_) value = std::min<size_t>(value * 10 + (next() - '0'), most_repeats + 1);
    return value;
  }

  Node atom(bool ignore_case) {
    if (looks_at(U"(")) return group(ignore_case);
    if (looks_at(U"[")) return of(character_class(ignore_case));
    if (take(U".")) return of(CharacterSet::any_but_newline());
    if (take(U"^")) return assertion(Node::Assertion::line_begin);
    if (take(U"$")) return assertion(Node::Assertion::line_end);
    if (looks_at(U"\\")) return escaped(ignore_case);
    if (next() == '*' || next() == '+' || next() == '?') refuse("a repeat of nothing");
    return literal(taken(), ignore_case);
  }

  static Node of(CharacterSet set) {
    Node made;
    made.kind = Node::Kind::set;
    set.finish();
    made.set = std::move(set);
    return made;
  }

  static Node assertion(Node::Assertion which) {
    Node made;
    made.kind = Node::Kind::assertion;
    made.assertion = which;
    return made;
  }

  Node literal(char32_t value, bool ignore_case) const {
    CharacterSet set = CharacterSet::one(value);
    if (ignore_case && is_ascii_letter(value)) add_cases(set, value);
    if (ignore_case && may_have_cases(value)) refuse("this character where case is ignored is not supported");
    return of(std::move(set));
  }

  Node group(bool ignore_case) {
    const size_t begin = at_;
    Node found;
    const auto look = [&](bool behind, bool negative) {
      found.kind = Node::Kind::look;
      found.behind = behind;
      found.negative = negative;
      if (looking_) refuse_pattern(begin, "a look within a look is not supported");
      looking_ = true;
      found.parts.push_back(plain(alternatives(ignore_case)));
      looking_ = false;
      if (behind && found.parts[0].kind != Node::Kind::set) {
        refuse_pattern(begin, "a look behind at more than one character is not supported");
      }
      if (found.parts[0].longest() > Node::longest_look) refuse_pattern(begin, "a look ahead at more than 64 characters is not supported");
    };
    if (take(U"(?:")) {
      found = alternatives(ignore_case);
    } else if (take(U"(?i:")) {
      found = alternatives(true);
    } else if (take(U"(?-i:")) {
      found = alternatives(false);
    } else if (take(U"(?=")) {
      look(false, false);
    } else if (take(U"(?!")) {
      look(false, true);
    } else if (take(U"(?<=")) {
      look(true, false);
    } else if (take(U"(?<!")) {
      look(true, true);
    } else if (looks_at(U"(?") || looks_at(U"(*")) {
      refuse("this kind of group is not supported");
    } else {
      at_ += 1;
      found = alternatives(ignore_case);
    }
    if (!take(U")")) refuse_pattern(begin, "a \"(\" is not closed");
    if (found.kind == Node::Kind::look) return found;
    return plain(std::move(found));
  }

  // A group of one character is that character.
  static Node plain(Node group) {
    if (group.kind == Node::Kind::sequence && group.parts.size() == 1 && group.parts[0].kind == Node::Kind::set) return Node(group.parts[0]);
    return group;
  }

  Node escaped(bool ignore_case) {
    const size_t begin = at_;
    if (auto set = class_escape(false)) return of(std::move(*set));
    at_ = begin + 1;
    if (take(U"A")) return assertion(Node::Assertion::text_begin);
    if (take(U"z")) return assertion(Node::Assertion::text_end);
    if (take(U"Z")) return assertion(Node::Assertion::last_line_end);
    if (take(U"b")) return assertion(Node::Assertion::word_border);
    if (take(U"B")) return assertion(Node::Assertion::no_word_border);
    at_ = begin;
    return literal(character_escape(), ignore_case);
  }

  // \s, \p{L} and the like, of which is taken all; nullopt for any other escape, of which nothing is.
  std::optional<CharacterSet> class_escape(bool in_class) {
    const size_t begin = at_++;
    const char32_t letter = taken();
    CharacterSet set;
    if (letter == 's' || letter == 'S') {
      set = CharacterSet::white_space();
    } else if (letter == 'd' || letter == 'D') {
      set = CharacterSet::digits();
    } else if (letter == 'w' || letter == 'W') {
      set = CharacterSet::words(in_class);
    } else if (letter == 'p' || letter == 'P') {
      set = property();
    } else {
      at_ = begin;
      return std::nullopt;
    }
    if (letter == 'S' || letter == 'D' || letter == 'W' || letter == 'P') set.invert();
    return set;
  }

  CharacterSet property() {
    const size_t begin = at_;
    const size_t end = pattern_.find(U'}', at_);
    if (!take(U"{") || end == std::u32string::npos) refuse("a property without braces is not supported");
    const bool negated = take(U"^");
    const std::string name = to_utf8(pattern_.substr(at_, end - at_));
    auto found = CharacterSet::property(name);
    if (!found) refuse_pattern(begin, "the property " + (name.size() > 40 ? "there" : name) + " is not supported");
    at_ = end + 1;
    if (negated) found->invert();
    return *found;
  }

  char32_t character_escape() {
    at_ += 1;
    const char32_t letter = taken();
    switch (letter) {
      case 'n': return '\n';
      case 't': return '\t';
      case 'r': return '\r';
      case 'f': return '\f';
      case 'v': return '\v';
      case 'a': return '\a';
      case 'e': return 0x1B;
      case 'u': return hexadecimal(4, 4);
      case 'x':
        if (!take(U"{")) return hexadecimal(1, 2);
        {
          const char32_t value = hexadecimal(1, 8);
          if (!take(U"}")) refuse("a code point that is not closed");
          return value;
        }
      default: break;
    }
    if (letter >= '0' && letter <= '9') refuse("a backreference, or a character by an octal number, is not supported");
    if (is_ascii_letter(letter)) refuse("this escape is not supported");
    return letter;
  }

  char32_t hexadecimal(size_t least, size_t most) {
    uint64_t value = 0;
    size_t count = 0;
    for (; count < most && !done(); ++count, ++at_) {
      const char32_t c = next();
      const char32_t low = c | 0x20;
      if (c >= '0' && c <= '9') {
        value = value * 16 + (c - '0');
      } else if (low >= 'a' && low <= 'f') {
        value = value * 16 + (low - 'a' + 10);
      } else {
        break;
      }
    }
    if (count < least) refuse("a code point has too few digits");
    if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) refuse("this is no code point");
    return static_cast<char32_t>(value);
  }

  CharacterSet character_class(bool ignore_case) {
    if (++depth_ > most_depth) refuse("classes more than 64 deep are not supported");
    const size_t begin = at_++;
    const bool negated = take(U"^");
    CharacterSet whole, part;
    bool limited = false, first = true;
    const auto close_part = [&] {
      if (limited) {
        whole.keep(part);
      } else {
        whole = std::move(part);
      }
      part = {};
    };
    for (;; first = false) {
      if (done()) refuse_pattern(begin, "a \"[\" is not closed");
      if (next() == ']' && !first) break;
      if (ignore_case && looks_at(U"&&")) refuse("\"&&\" where case is ignored is not supported");
      if (take(U"&&")) {
        close_part();
        limited = true;
      } else if (looks_at(U"[:")) {
        refuse("a POSIX class is not supported");
      } else if (looks_at(U"[")) {
        part.add(character_class(ignore_case));
      } else {
        class_item(part, ignore_case);
      }
    }
    at_ += 1;
    close_part();
    if (negated) whole.invert();
    --depth_;
    return whole;
  }

  // A character, a range, or \s and the like.
  void class_item(CharacterSet& part, bool ignore_case) {
    const size_t begin = at_;
    if (looks_at(U"\\")) {
      const bool cased = ignore_case && (looks_at(U"\\p") || looks_at(U"\\P"));
      if (const auto set = class_escape(true)) {
        if (cased) refuse_pattern(begin, "a property in a class where case is ignored is not supported");
        if (looks_at(U"-") && !looks_at(U"-]")) refuse("a range from a class is not supported");
        part.add(*set);
        return;
      }
    }
    const char32_t from = class_character();
    char32_t to = from;
    if (looks_at(U"-") && !looks_at(U"-]") && !looks_at(U"-[") && !looks_at(U"-&&")) {
      at_ += 1;
      if (looks_at(U"\\")) {
        const size_t escape = at_;
        if (class_escape(true)) refuse_pattern(escape, "a range to a class is not supported");
      }
      to = class_character();
      if (to < from) refuse_pattern(begin, "a range whose end is below its beginning");
    }
    part.add(CharacterSet::range(from, to));
    if (!ignore_case) return;
    for (char32_t c = from; c <= to; ++c) {
      if (is_ascii_letter(c)) add_cases(part, c);
      if (may_have_cases(c)) refuse_pattern(begin, "this class where case is ignored is not supported");
    }
  }

  char32_t class_character() {
    if (done()) refuse("the pattern ends in a class");
    if (take(U"\\b")) return '\b';
    return looks_at(U"\\") ? character_escape() : taken();
  }

  const std::u32string& pattern_;
  size_t at_ = 0, depth_ = 0;
  bool looking_ = false;  // inside a look
};

}  // namespace

bool PatternNode::may_be_empty() const {
  switch (kind) {
    case Kind::set:
      return false;
    case Kind::repeat:
      return least == 0 || parts[0].may_be_empty();
    case Kind::alternatives:
      return std::any_of(parts.begin(), parts.end(), [](const Node& each) { return each.may_be_empty(); });
    case Kind::sequence:
      return std::all_of(parts.begin(), parts.end(), [](const Node& each) { return each.may_be_empty(); });
    case Kind::assertion:
    case Kind::look:
      return true;
  }
  return true;
}

size_t PatternNode::longest() const {
  constexpr size_t limit = size_t{1} << 40;  // far from where a product wraps
  size_t found = 0;
  if (kind == Kind::set) return 1;
  if (kind == Kind::assertion || kind == Kind::look) return 0;
  for (const Node& each : parts) {
    const size_t one = each.longest();
    if (one == unbounded) return unbounded;
    found = kind == Kind::alternatives ? std::max(found, one) : found + one;
  }
  if (kind == Kind::repeat) {
    if (most == unbounded) return found ? unbounded : 0;
    found *= most;
  }
  return found > limit ? unbounded : found;
}

PatternNode parse_pattern(const std::u32string& pattern) { return Parser(pattern).parse(); }

void refuse_pattern(size_t place, const std::string& problem) {
  throw PatternError("at character " + std::to_string(place) + ": " + problem);
}

}  // namespace attn
