#include "util/unicode.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <utility>

namespace attn {
namespace {

struct LowerCase {
  uint32_t first, last, stride;
  int32_t delta;
};

struct CombiningClass {
  uint32_t first, last;
  uint8_t order;
};

struct Range {
  uint32_t first, last;
};

#include "util/unicode_tables.inc"

constexpr char32_t dotted_i = 0x130, dot_above = 0x307;
constexpr char32_t first_composed = 0x300;  // below it, text is in normal form C whatever it says

// Hangul syllables are composed by a rule (The Unicode Standard, 3.12).
constexpr uint32_t syllables = 0xAC00, leads = 0x1100, vowels = 0x1161, trails = 0x11A7;
constexpr uint32_t lead_count = 19, vowel_count = 21, trail_count = 28, syllable_count = lead_count * vowel_count * trail_count;

// The entry of a table of ranges that holds `value`; nullptr where none does.
template <typename Entry, size_t count>
const Entry* find_range(const Entry (&table)[count], char32_t value) {
  const Entry* found =
      std::upper_bound(std::begin(table), std::end(table), value, [](char32_t v, const Entry& entry) { return v < entry.first; });
  return found != std::begin(table) && value <= (found - 1)->last ? found - 1 : nullptr;
}

uint32_t composed_of(uint64_t entry) { return static_cast<uint32_t>(entry >> 43); }
char32_t first_of(uint64_t entry) { return entry >> 22 & 0x1FFFFF; }
char32_t second_of(uint64_t entry) { return entry >> 1 & 0x1FFFFF; }

uint8_t combining_class(char32_t value) {
  const CombiningClass* found = value < first_composed ? nullptr : find_range(combining_classes, value);
  return found ? found->order : uint8_t{0};
}

// A character on its way through normal form C, and how many more characters there are with it than before: 1 where it came out of a
// decomposition behind another one, less where several became it.
struct Part {
  char32_t value;
  int change;
};

void decompose(char32_t given, int change, std::vector<Part>& into) {
  const uint32_t syllable = given - syllables;
  if (given >= syllables && syllable < syllable_count) {
    into.push_back({leads + syllable / (vowel_count * trail_count), change});
    into.push_back({vowels + syllable % (vowel_count * trail_count) / trail_count, 1});
    if (syllable % trail_count) into.push_back({trails + syllable % trail_count, 1});
    return;
  }
  const auto found = std::lower_bound(std::begin(decompositions), std::end(decompositions), given,
                                      [](uint64_t entry, char32_t value) { return composed_of(entry) < value; });
  if (found == std::end(decompositions) || composed_of(*found) != given) return into.push_back({given, change});
  decompose(first_of(*found), change, into);
  if (second_of(*found)) decompose(second_of(*found), 1, into);
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

}  // namespace

Characters characters(const std::u32string& text) {
  Characters found;
  found.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) found.push_back({text[i], i, i + 1});
  return found;
}

void lower_case(Characters& text) {
  size_t dotted = 0;
  for (Character& each : text) {
    char32_t& value = each.value;
    if (value < 0x80) {
      if (value >= 'A' && value <= 'Z') value += 'a' - 'A';
    } else if (value == dotted_i) {
      ++dotted;
    } else if (const LowerCase* found = find_range(lower_cases, value); found && (value - found->first) % found->stride == 0) {
      value = static_cast<char32_t>(static_cast<int32_t>(value) + found->delta);
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

void compose(Characters& text) {
  if (std::all_of(text.begin(), text.end(), [](const Character& c) { return c.value < first_composed; })) return;
  std::vector<Part> parts, made;
  parts.reserve(text.size());
  for (const Character& each : text) decompose(each.value, 0, parts);
  // Marks in a row come by their class, those of one class as they were.
  for (size_t i = 0; i < parts.size();) {
    size_t end = i;
    while (end < parts.size() && combining_class(parts[end].value)) ++end;
    std::stable_sort(parts.begin() + static_cast<std::ptrdiff_t>(i), parts.begin() + static_cast<std::ptrdiff_t>(end),
                     [](const Part& a, const Part& b) { return combining_class(a.value) < combining_class(b.value); });
    i = end + 1;
  }
  constexpr size_t none = static_cast<size_t>(-1);
  size_t starter = none;
  uint8_t before = 0;  // the class of what stands last behind the starter
  for (const Part& each : parts) {
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
  // As the library has it, what was there before is handed out in its order: a mark that has moved stands for the one in its new place.
  Characters composed;
  composed.reserve(made.size());
  size_t at = 0;
  for (const Part& each : made) {
    const size_t from = std::min(each.change > 0 ? (at ? at - 1 : 0) : at, text.size() - 1);
    composed.push_back({each.value, text[from].begin, text[from].end});
    if (each.change <= 0) at += static_cast<size_t>(1 - each.change);
  }
  text = std::move(composed);
}

bool is_white_space(char32_t value) {
  return (value >= 0x9 && value <= 0xD) || value == 0x20 || value == 0x85 || value == 0xA0 || value == 0x1680 ||
         (value >= 0x2000 && value <= 0x200A) || value == 0x2028 || value == 0x2029 || value == 0x202F || value == 0x205F || value == 0x3000;
}

bool is_blank(char32_t value) { return is_white_space(value) || (value >= 0x1C && value <= 0x1F); }

bool is_word_character(char32_t value) { return find_range(word_characters, value) != nullptr; }

void append_utf8(std::string& text, char32_t value) {
  const auto put = [&](uint32_t byte) { text += static_cast<char>(byte); };
  if (value < 0x80) {
    put(value);
  } else if (value < 0x800) {
    put(0xC0 | value >> 6);
    put(0x80 | (value & 0x3F));
  } else if (value < 0x10000) {
    put(0xE0 | value >> 12);
    put(0x80 | (value >> 6 & 0x3F));
    put(0x80 | (value & 0x3F));
  } else {
    put(0xF0 | value >> 18);
    put(0x80 | (value >> 12 & 0x3F));
    put(0x80 | (value >> 6 & 0x3F));
    put(0x80 | (value & 0x3F));
  }
}

std::string to_utf8(const std::u32string& text) {
  std::string made;
  made.reserve(text.size());
  for (const char32_t value : text) append_utf8(made, value);
  return made;
}

namespace {

// Of the bytes from `at` on: how many are a character or the beginning of one, and how many it would have; 0 where none begins so.
std::pair<size_t, size_t> character_at(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(at);
  const size_t length = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
  size_t there = length ? 1 : 0;
  for (; there < length && at + there < text.size(); ++there) {
    unsigned low = 0x80, high = 0xBF;
    if (there == 1) {  // no overlong form, no surrogate, nothing beyond U+10FFFF
      if (lead == 0xE0) low = 0xA0;
      if (lead == 0xED) high = 0x9F;
      if (lead == 0xF0) low = 0x90;
      if (lead == 0xF4) high = 0x8F;
    }
    if (byte(at + there) < low || byte(at + there) > high) break;
  }
  return {there, length};
}

}  // namespace

bool is_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto [there, length] = character_at(text, i);
    if (!length || there < length) return false;
    i += length;
  }
  return true;
}

std::string readable_utf8(std::string_view bytes) {
  std::string made;
  for (size_t i = 0; i < bytes.size();) {
    const auto [there, length] = character_at(bytes, i);
    if (length && there == length) {
      made.append(bytes, i, length);
    } else {
      made += "\uFFFD";
    }
    i += there ? there : 1;
  }
  return made;
}

std::u32string code_points(std::string_view text) {
  std::u32string found;
  found.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    char32_t c = length == 1 ? lead : lead & (0x7Fu >> length);
    for (size_t k = 1; k < length && i + k < text.size(); ++k) {
      c = (c << 6) | (static_cast<unsigned char>(text[i + k]) & 0x3Fu);
    }
    found += c;
    i += length;
  }
  return found;
}

}  // namespace attn
