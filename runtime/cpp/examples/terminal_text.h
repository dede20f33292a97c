// What a model wrote, as it is printed.
#pragma once

#include <cstdio>
#include <string>

#ifdef _WIN32
#include <io.h>
#else
#include <unistd.h>
#endif

// Text in UTF-8 without what a terminal acts on: control characters but for line breaks and tabs, the separators U+2028 and U+2029,
// and the marks that reorder a line, U+202A to U+202E and U+2066 to U+2069. Each becomes U+FFFD.
inline std::string terminal_text(const std::string& text) {
  std::string clean;
  for (size_t i = 0; i < text.size();) {
    const auto byte = [&](size_t ahead) { return i + ahead < text.size() ? static_cast<unsigned char>(text[i + ahead]) : 0U; };
    size_t acted_on = 0;  // bytes of a character that is
    if ((byte(0) < 0x20 && byte(0) != '\n' && byte(0) != '\t') || byte(0) == 0x7F) acted_on = 1;
    if (byte(0) == 0xC2 && byte(1) >= 0x80 && byte(1) < 0xA0) acted_on = 2;
    if (byte(0) == 0xE2 && byte(1) == 0x80 && byte(2) >= 0xA8 && byte(2) <= 0xAE) acted_on = 3;
    if (byte(0) == 0xE2 && byte(1) == 0x81 && byte(2) >= 0xA6 && byte(2) <= 0xA9) acted_on = 3;
    if (acted_on) {
      clean += "\xEF\xBF\xBD";
    } else {
      clean += text[i];
    }
    i += acted_on ? acted_on : 1;
  }
  return clean;
}

// Into a file or a pipe goes the text as it is.
inline void print_answer(const std::string& text) {
#ifdef _WIN32
  const bool terminal = _isatty(_fileno(stdout));
#else
  const bool terminal = isatty(fileno(stdout));
#endif
  const std::string line = (terminal ? terminal_text(text) : text) + "\n";
  std::fwrite(line.data(), 1, line.size(), stdout);
}
