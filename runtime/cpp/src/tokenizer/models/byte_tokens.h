// The words <0x00> to <0xFF> of vocabularies with byte fallback, which stand for the bytes of what is in no other word.
#pragma once

#include <vector>

#include "tokenizer/models/vocabulary.h"

namespace attn {

// The place of each byte's word; `none` where there is none.
std::vector<Vocabulary::Place> byte_tokens(const Vocabulary& vocabulary);

// The byte that a word stands for: "<0x", two digits of base 16, ">".
std::optional<unsigned char> byte_of(std::string_view word);

}  // namespace attn
