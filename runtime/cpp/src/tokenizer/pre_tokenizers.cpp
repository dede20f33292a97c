#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include "tokenizer/parts.h"
#include "tokenizer/text_pattern.h"
#include "unicode/properties.h"
#include "unicode/transform.h"

namespace attn {
namespace {

// Characters [begin, end) of a piece, and whether the pattern matched them.
struct Part {
  size_t begin, end;
  bool matched;
};

using Finder = std::function<std::vector<Part>(const Characters&)>;

// Each character that `is` says yes to, and what is between them.
Finder characters_that(bool (*is)(char32_t)) {
  return [is](const Characters& text) {
    std::vector<Part> parts;
    for (size_t i = 0; i < text.size(); ++i) {
      if (is(text[i].value)) {
        parts.push_back({i, i + 1, true});
      } else if (parts.empty() || parts.back().matched) {
        parts.push_back({i, i + 1, false});
      } else {
        parts.back().end = i + 1;
      }
    }
    return parts;
  };
}

Finder matches_of(TextPattern pattern) {
  return [pattern = std::move(pattern)](const Characters& text) {
    std::vector<Part> parts;
    size_t at = 0;
    for (const auto& [begin, end] : pattern.find_all(text)) {
      if (begin > at) parts.push_back({at, begin, false});
      parts.push_back({begin, end, true});
      at = end;
    }
    if (at < text.size()) parts.push_back({at, text.size(), false});
    return parts;
  };
}

enum class Behavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

std::optional<Behavior> behavior_of(const std::string& name) {
  if (name == "Removed") return Behavior::removed;
  if (name == "Isolated") return Behavior::isolated;
  if (name == "MergedWithPrevious") return Behavior::merged_with_previous;
  if (name == "MergedWithNext") return Behavior::merged_with_next;
  if (name == "Contiguous") return Behavior::contiguous;
  return std::nullopt;
}

std::vector<Part> arranged(std::vector<Part> parts, Behavior behavior) {
  std::vector<Part> found;
  bool before = false;
  switch (behavior) {
    case Behavior::isolated:
      return parts;
    case Behavior::removed:
      for (const Part& part : parts) {
        if (!part.matched) found.push_back(part);
      }
      break;
    case Behavior::contiguous:
      for (const Part& part : parts) {
        if (!found.empty() && part.matched == before) {
          found.back().end = part.end;
        } else {
          found.push_back(part);
        }
        before = part.matched;
      }
      break;
    case Behavior::merged_with_previous:
      for (const Part& part : parts) {
        if (part.matched && !before && !found.empty()) {
          found.back().end = part.end;
        } else {
          found.push_back(part);
        }
        before = part.matched;
      }
      break;
    case Behavior::merged_with_next:
      for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
        if (part->matched && !before && !found.empty()) {
          found.back().begin = part->begin;
        } else {
          found.push_back(*part);
        }
        before = part->matched;
      }
      found = {found.rbegin(), found.rend()};
      break;
  }
  return found;
}

std::vector<Characters> pieces_of(const Characters& text, const std::vector<Part>& parts) {
  std::vector<Characters> found;
  found.reserve(parts.size());
  for (const auto& [begin, end, ignored] : parts) {
    if (begin == end) continue;
    found.emplace_back(text.begin() + static_cast<std::ptrdiff_t>(begin), text.begin() + static_cast<std::ptrdiff_t>(end));
  }
  return found;
}

class Split : public PreTokenizer {
 public:
  Split(Finder find, Behavior behavior, bool invert = false) : find_(std::move(find)), behavior_(behavior), invert_(invert) {}

  std::vector<Characters> split(Characters text) const override {
    std::vector<Part> parts = find_(text);
    if (invert_) {
      for (Part& part : parts) part.matched = !part.matched;
    }
    return pieces_of(text, arranged(std::move(parts), behavior_));
  }

 private:
  Finder find_;
  Behavior behavior_;
  bool invert_;
};

// Words and runs of marks, without the spaces: \w+|[^\w\s]+ of Rust's regular expressions.
class WordsAndMarks : public PreTokenizer {
 public:
  std::vector<Characters> split(Characters text) const override {
    const auto kind = [](char32_t value) { return is_word_character(value) ? 1 : is_white_space(value) ? 0 : 2; };
    std::vector<Characters> found;
    int before = 0;
    for (const Character& each : text) {
      const int now = kind(each.value);
      if (now && now != before) found.emplace_back();
      if (now) found.back().push_back(each);
      before = now;
    }
    return found;
  }
};

class ByteLevel : public PreTokenizer {
 public:
  ByteLevel(bool space_in_front, bool split) : space_in_front_(space_in_front) {
    // As GPT-2 has it.
    static const Regex words(UR"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)");
    if (split) find_ = matches_of(TextPattern(words));
  }

  std::vector<Characters> split(Characters text) const override {
    if (text.empty()) return {};
    if (space_in_front_ && text[0].value != ' ') prepend(text, U" ");
    std::vector<Characters> pieces;
    if (find_) {
      pieces = pieces_of(text, find_(text));
    } else {
      pieces.push_back(std::move(text));
    }
    for (Characters& piece : pieces) spell_bytes(piece);
    return pieces;
  }

 private:
  bool space_in_front_;
  Finder find_;
};

// A mark in the place of each space, and one in front; then pieces that begin with it.
class Metaspace : public PreTokenizer {
 public:
  enum class Prepend { never, first, always };

  Metaspace(char32_t mark, Prepend prepend, bool split) : mark_(mark), prepend_(prepend), split_(split) {}

  std::vector<Characters> split(Characters text) const override {
    if (text.empty()) return {};
    for (Character& each : text) {
      if (each.value == ' ') each.value = mark_;
    }
    const bool first = text[0].begin == 0;  // of the whole text
    if (text[0].value != mark_ && (prepend_ == Prepend::always || (prepend_ == Prepend::first && first))) prepend(text, {mark_});
    std::vector<Part> parts;
    for (size_t i = 0; i < text.size(); ++i) {
      if (parts.empty() || (split_ && text[i].value == mark_)) parts.push_back({i, i, false});
      parts.back().end = i + 1;
    }
    return pieces_of(text, parts);
  }

 private:
  char32_t mark_;
  Prepend prepend_;
  bool split_;
};

class FixedLength : public PreTokenizer {
 public:
  explicit FixedLength(size_t length) : length_(length) {}

  std::vector<Characters> split(Characters text) const override {
    std::vector<Part> parts;
    for (size_t i = 0; i < text.size(); i += length_) parts.push_back({i, std::min(text.size(), i + length_), false});
    return pieces_of(text, parts);
  }

 private:
  size_t length_;
};

class PreTokenizerSequence : public PreTokenizer {
 public:
  explicit PreTokenizerSequence(std::vector<std::unique_ptr<PreTokenizer>> steps) : steps_(std::move(steps)) {}

  std::vector<Characters> split(Characters text) const override {
    std::vector<Characters> pieces;
    pieces.push_back(std::move(text));
    for (const auto& step : steps_) {
      std::vector<Characters> smaller;
      for (Characters& piece : pieces) {
        std::vector<Characters> found = step->split(std::move(piece));
        std::move(found.begin(), found.end(), std::back_inserter(smaller));
      }
      pieces = std::move(smaller);
    }
    return pieces;
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> steps_;
};

bool is_punctuation(char32_t value) { return properties_of(value).is_punctuation(); }
bool is_numeric(char32_t value) { return properties_of(value).is_numeric(); }

using Made = std::unique_ptr<PreTokenizer>;

Made read_sequence(TokenizerPart& part) {
  std::vector<Made> steps;
  for (const Json& each : part.list("pretokenizers")) {
    Made step = read_pre_tokenizer(each, part.where());
    if (!step) part.refuse("holds null, expected steps");
    steps.push_back(std::move(step));
  }
  return std::make_unique<PreTokenizerSequence>(std::move(steps));
}

Made read_bert(TokenizerPart&) {
  std::vector<Made> steps;
  steps.push_back(std::make_unique<Split>(characters_that(is_white_space), Behavior::removed));
  steps.push_back(std::make_unique<Split>(characters_that(is_punctuation), Behavior::isolated));
  return std::make_unique<PreTokenizerSequence>(std::move(steps));
}

Behavior read_behavior(TokenizerPart& part) {
  const std::string name = part.text("behavior");
  const std::optional<Behavior> behavior = behavior_of(name);
  if (!behavior) part.refuse("the behavior " + shown(name) + " is not supported");
  return *behavior;
}

Made read_split(TokenizerPart& part) {
  TextPattern pattern = TextPattern::read(part);
  const Behavior behavior = read_behavior(part);
  return std::make_unique<Split>(matches_of(std::move(pattern)), behavior, part.flag("invert"));
}

Made read_byte_level(TokenizerPart& part) {
  part.find("trim_offsets");  // which changes no token
  const bool space = part.flag("add_prefix_space");
  return std::make_unique<ByteLevel>(space, part.flag("use_regex", true));
}

Made read_metaspace(TokenizerPart& part) {
  static const std::map<std::string, Metaspace::Prepend> schemes = {
      {"never", Metaspace::Prepend::never}, {"first", Metaspace::Prepend::first}, {"always", Metaspace::Prepend::always}};
  part.find("str_rep");  // the same as text
  const char32_t mark = part.character("replacement");
  auto scheme = schemes.find("always");
  if (part.find("prepend_scheme")) {
    const std::string name = part.text("prepend_scheme");
    scheme = schemes.find(name);
    if (scheme == schemes.end()) part.refuse("the prepend_scheme " + shown(name) + " is not supported");
  }
  // How older files say "never".
  const bool prepends = part.flag("add_prefix_space", true);
  if (!prepends && part.find("prepend_scheme") && scheme->first != "never") part.refuse("add_prefix_space and prepend_scheme differ");
  return std::make_unique<Metaspace>(mark, prepends ? scheme->second : Metaspace::Prepend::never, part.flag("split", true));
}

Made read_digits(TokenizerPart& part) {
  return std::make_unique<Split>(characters_that(is_numeric), part.flag("individual_digits") ? Behavior::isolated : Behavior::contiguous);
}

Made read_punctuation(TokenizerPart& part) {
  return std::make_unique<Split>(characters_that(is_punctuation), part.find("behavior") ? read_behavior(part) : Behavior::isolated);
}

Made read_delimiter(TokenizerPart& part) {
  return std::make_unique<Split>(matches_of(TextPattern(std::u32string{part.character("delimiter")})), Behavior::removed);
}

Made read_fixed_length(TokenizerPart& part) {
  const Json* length = part.find("length");
  if (length && (!length->is_number_integer() || length->get<int64_t>() < 1)) part.refuse("length is " + shown(*length) + ", expected 1 or more");
  return std::make_unique<FixedLength>(length ? length->get<size_t>() : 5);
}

using Reader = Made (*)(TokenizerPart&);

const std::map<std::string, Reader>& readers() {
  static const std::map<std::string, Reader> known = {
      {"BertPreTokenizer", read_bert},
      {"ByteLevel", read_byte_level},
      {"CharDelimiterSplit", read_delimiter},
      {"Digits", read_digits},
      {"FixedLength", read_fixed_length},
      {"Metaspace", read_metaspace},
      {"Punctuation", read_punctuation},
      {"Sequence", read_sequence},
      {"Split", read_split},
      {"Whitespace", [](TokenizerPart&) -> Made { return std::make_unique<WordsAndMarks>(); }},
      {"WhitespaceSplit",
       [](TokenizerPart&) -> Made { return std::make_unique<Split>(characters_that(is_white_space), Behavior::removed); }},
  };
  return known;
}

}  // namespace

std::unique_ptr<PreTokenizer> read_pre_tokenizer(const Json& value, const std::string& where) {
  if (value.is_null()) return nullptr;
  TokenizerPart part(value, "pre_tokenizer", where);
  std::unique_ptr<PreTokenizer> made = part.one_of(readers())(part);
  part.expect_no_more();
  return made;
}

}  // namespace attn
