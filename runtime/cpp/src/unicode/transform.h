// How a text is changed so that each character still knows what it stands for, as NormalizedString of the `tokenizers` library has it.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "util/unicode.h"

namespace attn {

// A character of the changed text: 0 takes the place of the next one of the old text, 1 is put in behind it, -n takes n more away.
struct Change {
  char32_t value;
  int change;
};

// What a normalizer may do to the characters of a text.
void transform(Characters& text, const std::vector<Change>& changes);

// Only those that `keep` says yes to.
void filter(Characters& text, const std::function<bool(char32_t)>& keep);

// `front` before a text that is not empty.
void prepend(Characters& text, const std::u32string& front);

// Each byte of its UTF-8 as a letter that can be seen, as GPT-2 has it: a space is U+0120.
void spell_bytes(Characters& text);
// The byte that such a letter stands for; none for any other.
std::optional<unsigned char> byte_of_letter(char32_t letter);

}  // namespace attn
