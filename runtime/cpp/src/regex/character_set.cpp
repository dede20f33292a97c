#include "regex/character_set.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "util/unicode.h"

namespace attn {
namespace {

template <typename... Categories>
constexpr uint32_t bits(Categories... categories) {
  return ((1U << static_cast<unsigned>(categories)) | ...);
}

using C = Category;
constexpr uint32_t letters = bits(C::Ll, C::Lm, C::Lo, C::Lt, C::Lu), marks = bits(C::Mc, C::Me, C::Mn),
                   numbers = bits(C::Nd, C::Nl, C::No), others = bits(C::Cn, C::Cc, C::Cf, C::Co),
                   punctuation = bits(C::Pc, C::Pd, C::Pe, C::Pf, C::Pi, C::Po, C::Ps), symbols = bits(C::Sc, C::Sk, C::Sm, C::So),
                   separators = bits(C::Zl, C::Zp, C::Zs);

struct NamedCategories {
  const char *name, *long_name;
  uint32_t categories;
};
constexpr NamedCategories named_categories[] = {
    {"c", "other", others},
    {"cc", "control", bits(C::Cc)},
    {"cf", "format", bits(C::Cf)},
    {"cn", "unassigned", bits(C::Cn)},
    {"co", "privateuse", bits(C::Co)},
    {"l", "letter", letters},
    {"lc", "casedletter", bits(C::Ll, C::Lt, C::Lu)},
    {"ll", "lowercaseletter", bits(C::Ll)},
    {"lm", "modifierletter", bits(C::Lm)},
    {"lo", "otherletter", bits(C::Lo)},
    {"lt", "titlecaseletter", bits(C::Lt)},
    {"lu", "uppercaseletter", bits(C::Lu)},
    {"m", "mark", marks},
    {"mc", "spacingmark", bits(C::Mc)},
    {"me", "enclosingmark", bits(C::Me)},
    {"mn", "nonspacingmark", bits(C::Mn)},
    {"n", "number", numbers},
    {"nd", "decimalnumber", bits(C::Nd)},
    {"nl", "letternumber", bits(C::Nl)},
    {"no", "othernumber", bits(C::No)},
    {"p", "punctuation", punctuation},
    {"pc", "connectorpunctuation", bits(C::Pc)},
    {"pd", "dashpunctuation", bits(C::Pd)},
    {"pe", "closepunctuation", bits(C::Pe)},
    {"pf", "finalpunctuation", bits(C::Pf)},
    {"pi", "initialpunctuation", bits(C::Pi)},
    {"po", "otherpunctuation", bits(C::Po)},
    {"ps", "openpunctuation", bits(C::Ps)},
    {"s", "symbol", symbols},
    {"sc", "currencysymbol", bits(C::Sc)},
    {"sk", "modifiersymbol", bits(C::Sk)},
    {"sm", "mathsymbol", bits(C::Sm)},
    {"so", "othersymbol", bits(C::So)},
    {"z", "separator", separators},
    {"zl", "lineseparator", bits(C::Zl)},
    {"zp", "paragraphseparator", bits(C::Zp)},
    {"zs", "spaceseparator", bits(C::Zs)},
};

// In the order of Script.
constexpr const char* script_names[] = {"arabic", "bengali", "cyrillic", "devanagari", "greek",    "han",
                                        "hangul", "hebrew",  "hiragana", "katakana",   "latin", "thai"};

}  // namespace

CharacterSet CharacterSet::of(Item item) {
  CharacterSet made;
  made.items_.push_back(item);
  return made;
}

CharacterSet CharacterSet::range(char32_t first, char32_t last) { return of({Kind::range, first, last}); }
CharacterSet CharacterSet::white_space() { return of({Kind::white_space, 0, 0}); }
CharacterSet CharacterSet::words(bool in_class) { return of({Kind::word, in_class, 0}); }
CharacterSet CharacterSet::digits() { return of({Kind::categories, bits(C::Nd), 0}); }

CharacterSet CharacterSet::any_but_newline() {
  CharacterSet made = one('\n');
  made.invert();
  return made;
}

std::optional<CharacterSet> CharacterSet::property(const std::string& name) {
  std::string plain;
  for (const char letter : name) {
    if (letter == ' ' || letter == '_' || letter == '-') continue;
    plain += static_cast<char>(letter >= 'A' && letter <= 'Z' ? letter + ('a' - 'A') : letter);
  }
  for (const auto& [short_name, long_name, categories] : named_categories) {
    if (plain == short_name || plain == long_name) return of({Kind::categories, categories, 0});
  }
  const auto* script = std::find(std::begin(script_names), std::end(script_names), plain);
  if (script != std::end(script_names)) {
    return of({Kind::script, static_cast<char32_t>(script - std::begin(script_names) + 1), 0});
  }
  if (plain == "whitespace") return white_space();
  return std::nullopt;
}

void CharacterSet::add(const CharacterSet& other) {
  if (!other.negated_ && other.limits_.empty() && other.sets_.empty()) {
    items_.insert(items_.end(), other.items_.begin(), other.items_.end());
  } else {
    items_.push_back({Kind::set, static_cast<char32_t>(sets_.size()), 0});
    sets_.push_back(other);
  }
}

void CharacterSet::keep(const CharacterSet& other) { limits_.push_back(other); }

void CharacterSet::finish() {
  for (size_t i = 0; i < ascii_.size(); ++i) ascii_[i] = holds(static_cast<char32_t>(i));
  finished_ = true;
}

bool CharacterSet::holds(char32_t value) const {
  std::optional<Properties> known;
  const auto properties = [&] {
    if (!known) known = properties_of(value);
    return *known;
  };
  const auto is_in = [&](const Item& item) {
    switch (item.kind) {
      case Kind::range:
        return item.first <= value && value <= item.last;
      case Kind::categories:
        return (item.first >> static_cast<unsigned>(properties().category()) & 1) != 0;
      case Kind::script:
        return static_cast<char32_t>(properties().script()) == item.first;
      case Kind::white_space:
        return is_white_space(value);
      case Kind::word:
        return properties().is_word() && !(item.first && value < 0x100 && properties().category() == C::No);
      case Kind::set:
        return sets_[item.first].contains(value);
    }
    return false;
  };
  const bool found = std::any_of(items_.begin(), items_.end(), is_in) &&
                     std::all_of(limits_.begin(), limits_.end(), [&](const CharacterSet& each) { return each.contains(value); });
  return found != negated_;
}

}  // namespace attn
