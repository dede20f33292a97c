#include <functional>
#include <iterator>
#include <optional>

#include "tokenizer/parts.h"

namespace attn {
namespace {

// Characters [begin, end) of a piece, and whether the pattern matched them.
struct Part {
  size_t begin, end;
  bool matched;
};

Characters cut(const Characters& text, const Part& part) {
  return {text.begin() + static_cast<std::ptrdiff_t>(part.begin), text.begin() + static_cast<std::ptrdiff_t>(part.end)};
}

std::vector<Characters> pieces_of(const Characters& text, const std::vector<Part>& parts) {
  std::vector<Characters> found;
  found.reserve(parts.size());
  for (const Part& part : parts) found.push_back(cut(text, part));
  return found;
}

// Runs of characters of one kind; those of kind 0 are left out.
std::vector<Characters> runs(const Characters& text, int (*kind)(char32_t)) {
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

class WhitespaceSplit : public PreTokenizer {
 public:
  std::vector<Characters> split(Characters text) const override {
    return runs(text, [](char32_t value) { return is_white_space(value) ? 0 : 1; });
  }
};

// \w+|[^\w\s]+
class WordsAndMarks : public PreTokenizer {
 public:
  std::vector<Characters> split(Characters text) const override {
    return runs(text, [](char32_t value) { return is_word_character(value) ? 1 : is_white_space(value) ? 0 : 2; });
  }
};

enum class Behavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

std::optional<Behavior> behavior_of(const std::string& name) {
  if (name == "Removed") return Behavior::removed;
  if (name == "Isolated") return Behavior::isolated;
  if (name == "MergedWithPrevious") return Behavior::merged_with_previous;
  if (name == "MergedWithNext") return Behavior::merged_with_next;
  if (name == "Contiguous") return Behavior::contiguous;
  return std::nullopt;
}

class Split : public PreTokenizer {
 public:
  Split(std::u32string wanted, Behavior behavior) : wanted_(std::move(wanted)), behavior_(behavior) {}

  std::vector<Characters> split(Characters text) const override {
    std::vector<Part> parts;
    for (size_t at = 0; at < text.size();) {
      const size_t match = find_in(text, wanted_, at);
      if (match > at) parts.push_back({at, match, false});
      if (match < text.size()) parts.push_back({match, match + wanted_.size(), true});
      at = match + wanted_.size();
    }
    return pieces_of(text, arranged(parts));
  }

 private:
  std::vector<Part> arranged(const std::vector<Part>& parts) const {
    std::vector<Part> found;
    bool before = false;
    switch (behavior_) {
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

  std::u32string wanted_;
  Behavior behavior_;
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

}  // namespace

std::unique_ptr<PreTokenizer> read_pre_tokenizer(const Json& value, const std::string& where) {
  if (value.is_null()) return nullptr;
  TokenizerPart part(value, "pre_tokenizer", where);
  std::unique_ptr<PreTokenizer> made;
  if (part.type() == "WhitespaceSplit") {
    made = std::make_unique<WhitespaceSplit>();
  } else if (part.type() == "Whitespace") {
    made = std::make_unique<WordsAndMarks>();
  } else if (part.type() == "Split") {
    std::u32string wanted = part.pattern();
    const std::string name = part.text("behavior");
    const std::optional<Behavior> behavior = behavior_of(name);
    if (!behavior) part.refuse("the behavior " + shown(name) + " is not supported");
    if (part.flag("invert")) part.refuse("invert is not supported");
    made = std::make_unique<Split>(std::move(wanted), *behavior);
  } else if (part.type() == "Sequence") {
    std::vector<std::unique_ptr<PreTokenizer>> steps;
    for (const Json& each : part.list("pretokenizers")) {
      auto step = read_pre_tokenizer(each, where);
      if (!step) part.refuse("holds null, expected steps");
      steps.push_back(std::move(step));
    }
    made = std::make_unique<PreTokenizerSequence>(std::move(steps));
  } else {
    part.refuse_type("Whitespace, WhitespaceSplit, Split and Sequence");
  }
  part.expect_no_more();
  return made;
}

}  // namespace attn
