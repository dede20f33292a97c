#include "unicode/normal_forms.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <utility>

#include "unicode/properties.h"
#include "unicode/transform.h"

namespace attn {
namespace {

struct LowerCase {
  uint32_t first, last, stride;
  int32_t delta;
};

#include "unicode/normal_forms.inc"

constexpr char32_t dotted_i = 0x130, dot_above = 0x307;
constexpr char32_t first_composed = 0x300;    // below it, text is in normal form C whatever it says
constexpr char32_t first_decomposed = 0xA0;  // the same of the others

// Hangul syllables are composed by a rule (The Unicode Standard, 3.12).
constexpr uint32_t syllables = 0xAC00, leads = 0x1100, vowels = 0x1161, trails = 0x11A7;
constexpr uint32_t lead_count = 19, vowel_count = 21, trail_count = 28, syllable_count = lead_count * vowel_count * trail_count;

uint32_t composed_of(uint64_t entry) { return static_cast<uint32_t>(entry >> 43); }
char32_t first_of(uint64_t entry) { return entry >> 22 & 0x1FFFFF; }
char32_t second_of(uint64_t entry) { return entry >> 1 & 0x1FFFFF; }

uint8_t combining_class(char32_t value) { return value < first_composed ? uint8_t{0} : properties_of(value).combining_class(); }

// `change` of the first character of what it becomes; those behind it are put in.
void decompose(char32_t given, int change, bool further, std::vector<Change>& into) {
  if (given < first_decomposed) return into.push_back({given, change});
  if (further) {
    const auto* found = std::upper_bound(std::begin(compatible), std::end(compatible), given,
                                         [](char32_t value, uint64_t entry) { return value < composed_of(entry); });
    if (found != std::begin(compatible)) {
      const uint64_t entry = *(found - 1);
      const size_t place = given - composed_of(entry), length = entry >> 24 & 0xFF;
      if (place < (entry >> 32 & 0x7FF)) {
        const uint16_t* text = compatible_text + (entry & 0xFFFFFF) + place * length;
        for (size_t i = 0; i < length; ++i) into.push_back({text[i], i ? 1 : change});
        return;
      }
    }
  }
  const uint32_t syllable = given - syllables;
  if (given >= syllables && syllable < syllable_count) {
    into.push_back({leads + syllable / (vowel_count * trail_count), change});
    into.push_back({vowels + syllable % (vowel_count * trail_count) / trail_count, 1});
    if (syllable % trail_count) into.push_back({trails + syllable % trail_count, 1});
    return;
  }
  const auto* found = std::lower_bound(std::begin(decompositions), std::end(decompositions), given,
                                       [](uint64_t entry, char32_t value) { return composed_of(entry) < value; });
  if (found == std::end(decompositions) || composed_of(*found) != given) return into.push_back({given, change});
  decompose(first_of(*found), change, further, into);
  if (second_of(*found)) decompose(second_of(*found), 1, further, into);
}

// The pairs that are composed, in the order of their parts.
const std::vector<uint64_t>& compositions() {
  static const std::vector<uint64_t> made = [] {
    std::vector<uint64_t> pairs;
    std::copy_if(std::begin(decompositions), std::end(decompositions), std::back_inserter(pairs), [](uint64_t entry) { return entry & 1; });
    std::sort(pairs.begin(), pairs.end(), [](uint64_t a, uint64_t b) { return a << 21 < b << 21; });
    return pairs;
  }();
  return made;
}

// What two characters make; 0 where they stay two.
char32_t pair_of(char32_t first, char32_t second) {
  if (first >= leads && first < leads + lead_count && second >= vowels && second < vowels + vowel_count) {
    return syllables + ((first - leads) * vowel_count + (second - vowels)) * trail_count;
  }
  if (first >= syllables && first < syllables + syllable_count && (first - syllables) % trail_count == 0 && second > trails &&
      second < trails + trail_count) {
    return first + (second - trails);
  }
  const uint64_t wanted = static_cast<uint64_t>(first) << 43 | static_cast<uint64_t>(second) << 22 | 1 << 21;  // as entry << 21 has it
  const auto& pairs = compositions();
  const auto found = std::lower_bound(pairs.begin(), pairs.end(), wanted, [](uint64_t entry, uint64_t key) { return entry << 21 < key; });
  return found != pairs.end() && *found << 21 == wanted ? composed_of(*found) : 0;
}

// Marks in a row come by their class, those of one class as they were.
void put_in_order(std::vector<Change>& text) {
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    while (end < text.size() && combining_class(text[end].value)) ++end;
    if (end - i > 1) {
      std::stable_sort(text.begin() + static_cast<std::ptrdiff_t>(i), text.begin() + static_cast<std::ptrdiff_t>(end),
                       [](const Change& a, const Change& b) { return combining_class(a.value) < combining_class(b.value); });
    }
    i = end + 1;
  }
}

std::vector<Change> composed(const std::vector<Change>& text) {
  std::vector<Change> made;
  made.reserve(text.size());
  constexpr size_t none = static_cast<size_t>(-1);
  size_t starter = none;
  uint8_t before = 0;  // the class of what stands last behind the starter
  for (const Change& each : text) {
    const uint8_t order = combining_class(each.value);
    const bool seen = starter != none && (starter + 1 == made.size() || before < order);
    if (const char32_t pair = seen ? pair_of(made[starter].value, each.value) : 0) {
      made[starter].value = pair;
      made[starter].change += each.change - 1;
      continue;
    }
    if (!order) starter = made.size();
    before = order;
    made.push_back(each);
  }
  return made;
}

}  // namespace

void normalize(Characters& text, NormalForm form) {
  const char32_t first = form == NormalForm::nfc ? first_composed : first_decomposed;
  if (std::all_of(text.begin(), text.end(), [&](const Character& c) { return c.value < first; })) return;
  const bool further = form == NormalForm::nfkc || form == NormalForm::nfkd;
  std::vector<Change> changes;
  changes.reserve(text.size());
  for (const Character& each : text) decompose(each.value, 0, further, changes);
  put_in_order(changes);
  if (form == NormalForm::nfc || form == NormalForm::nfkc) changes = composed(changes);
  // As the library has it, what was there before is handed out in its order: a mark that has moved stands for the one in its new place.
  transform(text, changes);
}

void lower_case(Characters& text) {
  size_t dotted = 0;
  for (Character& each : text) {
    char32_t& value = each.value;
    if (value < 0x80) {
      if (value >= 'A' && value <= 'Z') value += 'a' - 'A';
    } else if (value == dotted_i) {
      ++dotted;
    } else {
      const LowerCase* found = std::upper_bound(std::begin(lower_cases), std::end(lower_cases), value,
                                                [](char32_t v, const LowerCase& entry) { return v < entry.first; }) - 1;
      if (value <= found->last && (value - found->first) % found->stride == 0) {
        value = static_cast<char32_t>(static_cast<int32_t>(value) + found->delta);
      }
    }
  }
  if (!dotted) return;
  Characters longer;
  longer.reserve(text.size() + dotted);
  for (const Character& each : text) {
    if (each.value == dotted_i) {
      longer.push_back({'i', each.begin, each.end});
      longer.push_back({dot_above, each.begin, each.end});
    } else {
      longer.push_back(each);
    }
  }
  text = std::move(longer);
}

}  // namespace attn
