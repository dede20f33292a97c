// What the `tokenizers` library takes a character for. It is of several Unicode versions at once: patterns go by Oniguruma's, the rest by
// those of the crates that it is made of (properties.inc).
#pragma once

#include <cstdint>

namespace attn {

// General categories, as Oniguruma has them.
enum class Category : uint8_t {
  Cn, Cc, Cf, Co, Ll, Lm, Lo, Lt, Lu, Mc, Me, Mn, Nd, Nl, No, Pc, Pd, Pe, Pf, Pi, Po, Ps, Sc, Sk, Sm, So, Zl, Zp, Zs
};

enum class Script : uint8_t { other, arabic, bengali, cyrillic, devanagari, greek, han, hangul, hebrew, hiragana, katakana, latin, thai };

// What decides where clusters of characters end (Unicode Standard Annex 29).
enum class ClusterClass : uint8_t {
  other, cr, lf, control, extend, joiner, regional, prepend, spacing_mark, lead, vowel, trail, lead_vowel, syllable
};

struct Properties {
  uint32_t record;

  Category category() const { return static_cast<Category>(record & 31); }
  Script script() const { return static_cast<Script>(record >> 5 & 15); }
  ClusterClass cluster() const { return static_cast<ClusterClass>(record >> 9 & 15); }
  bool is_word() const { return record >> 13 & 1; }             // \w of Oniguruma
  bool is_standard_word() const { return record >> 14 & 1; }    // \w of Rust's regex, which Whitespace goes by
  bool is_control() const { return record >> 15 & 1; }          // what BertNormalizer cleans away
  bool is_punctuation() const { return record >> 16 & 1; }      // of BertPreTokenizer and Punctuation
  bool is_nonspacing_mark() const { return record >> 17 & 1; }  // of BertNormalizer
  bool is_mark() const { return record >> 18 & 1; }             // of StripAccents
  bool is_numeric() const { return record >> 19 & 1; }          // of Digits
  bool is_pictographic() const { return record >> 20 & 1; }     // joined to others by a joiner
  bool is_conjunct_lead() const { return record >> 21 & 1; }    // consonants that a linker joins
  bool is_conjunct_linker() const { return record >> 22 & 1; }
  bool is_conjunct_extend() const { return record >> 23 & 1; }  // may stand between those
  uint8_t combining_class() const { return static_cast<uint8_t>(record >> 24); }
};

Properties properties_of(char32_t value);

// What \w of Rust's regular expressions matches.
inline bool is_word_character(char32_t value) { return properties_of(value).is_standard_word(); }

}  // namespace attn
