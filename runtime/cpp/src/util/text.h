// Text out of files, libraries and users for a message: one line, cut, and nothing in it that a terminal acts on.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace attn {

// As it is, of at most `limit` characters: what a terminal acts on (control characters, C1 and DEL among them, the separators
// of lines and paragraphs, the marks that reorder a line), or a byte that is no UTF-8, becomes U+FFFD.
std::string printable(std::string_view text, size_t limit = 200);

// The same of a table: its line breaks stay, and a line may be of any length.
std::string printable_lines(std::string_view text);

// In quotes, as JSON in ASCII; the bytes may be any.
std::string shown(const std::string& text, size_t limit = 80);
std::string shown(const std::vector<std::string>& texts);

// The first `limit` bytes of ASCII, and how many there are where that is not all.
std::string cut(const std::string& text, size_t limit);

// What a shell reads as one word.
std::string quoted(const std::string& word);

// What a library reported: its spaces and line breaks as one space each, without the last full stop.
std::string one_line(const std::string& report);

}  // namespace attn
