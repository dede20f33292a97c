// Texts as characters: UTF-8, and what is a space. What else of Unicode a tokenizer needs is in the room unicode.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace attn {

// A character of a text that is being normalized, and the characters [begin, end) of the given text that it stands for.
struct Character {
  char32_t value;
  size_t begin, end;
};
using Characters = std::vector<Character>;

Characters characters(const std::u32string& text);

bool is_white_space(char32_t value);  // the property White_Space
bool is_blank(char32_t value);        // white space, and the four separators among the controls

bool is_utf8(std::string_view text);
// With U+FFFD for each run of bytes that is the longest beginning of a character, and for each other byte that is part of none (Unicode 3.9,
// "U+FFFD Substitution of Maximal Subparts").
std::string readable_utf8(std::string_view bytes);
std::u32string code_points(std::string_view text);  // of valid UTF-8
void append_utf8(std::string& text, char32_t value);
std::string to_utf8(const std::u32string& text);
std::string utf8_of(const Characters& text);
// With `content` in the place of each `wanted`, from the left on; an empty one is nowhere.
std::string replaced(const std::string& text, const std::string& wanted, const std::string& content);
std::string without_ends(const std::string& text);  // without what is_blank at its beginning and end

}  // namespace attn
