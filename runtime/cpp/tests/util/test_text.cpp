// Text for messages.
#include <gtest/gtest.h>

#include "../../examples/terminal_text.h"
#include "util/names.h"
#include "util/text.h"
#include "util/unicode.h"

namespace attn {
namespace {

TEST(Nearest, IsOfFewChanges) {
  EXPECT_EQ(nearest("translat.attn", {"translate.attn", "vit.attn"}), "translate.attn");
  EXPECT_EQ(nearest("xyz", {"translate.attn"}), std::nullopt);
  EXPECT_EQ(nearest("", {"abc"}), std::nullopt);
  EXPECT_EQ(nearest("fp61", {"int8", "fp16"}), "fp16");
}

TEST(Shown, IsAsciiAndCut) {
  EXPECT_EQ(shown("a\"\\\n\x1b\x7f\xc3\xa9\xf0\x9f\x98\x80"), R"("a\"\\\n\u001b\u007f\u00e9\ud83d\ude00")");
  EXPECT_EQ(shown("\xFF" "a"), R"("\ufffda")");
  EXPECT_EQ(shown(std::string(100, 'a'), 10), "\"aaaaaaaaa... (102 characters)");
}

TEST(OneLine, IsOneAndCut) {
  EXPECT_EQ(one_line("  Non-zero status \n\n code.. "), "Non-zero status code");
  EXPECT_EQ(one_line("a\x1b[2J\x7f" "b"), "a?[2J?b");
  EXPECT_EQ(one_line(std::string(500, 'x')), std::string(400, 'x') + "...");
}

TEST(Printable, ShowsNothingThatATerminalActsOn) {
  EXPECT_EQ(printable("a\x1b[31m\nb"), "a\xEF\xBF\xBD[31m\xEF\xBF\xBD" "b");
  EXPECT_EQ(printable("caf\xC3\xA9", 3), "caf...");
  EXPECT_EQ(printable("\xFF" "a"), "\xEF\xBF\xBD" "a");
}

TEST(Printable, ReplacesWhatReordersAndBreaksLinesAndNothingElse) {
  // DEL, C1, U+2028, U+2029, U+202A, U+202E, U+2066, U+2069
  for (const char* acted_on : {"\x7F", "\xC2\x80", "\xC2\x9B", "\xE2\x80\xA8", "\xE2\x80\xA9", "\xE2\x80\xAA", "\xE2\x80\xAE",
                               "\xE2\x81\xA6", "\xE2\x81\xA9"}) {
    EXPECT_EQ(printable(acted_on), "\xEF\xBF\xBD");
  }
  // U+00A0, U+00AD, U+200C, U+200D, U+200F, U+202F, U+2065, U+206A, U+E000, an emoji of Unicode 16
  for (const char* shown_as_is : {"\xC2\xA0", "\xC2\xAD", "\xE2\x80\x8C", "\xE2\x80\x8D", "\xE2\x80\x8F", "\xE2\x80\xAF", "\xE2\x81\xA5",
                                  "\xE2\x81\xAA", "\xEE\x80\x80", "\xF0\x9F\xAB\xA9"}) {
    EXPECT_EQ(printable(shown_as_is), shown_as_is);
  }
}

TEST(TerminalText, OfAnExampleIsTheSameButForLinesAndTabs) {
  for (char32_t value = 1; value < 0x11000; ++value) {
    if (value >= 0xD800 && value < 0xE000) continue;
    const std::string character = to_utf8({value});
    EXPECT_EQ(terminal_text(character), value == '\n' || value == '\t' ? character : printable(character)) << std::hex << static_cast<uint32_t>(value);
  }
  EXPECT_EQ(terminal_text("a\x1b[2J\xC2"), "a\xEF\xBF\xBD[2J\xC2");
}

TEST(PrintableLines, KeepsTheLinesOfATable) {
  EXPECT_EQ(printable_lines("a\x1b[2J\n\nb\r"), "a\xEF\xBF\xBD[2J\n\nb\xEF\xBF\xBD");
  EXPECT_EQ(printable_lines(""), "");
  EXPECT_EQ(printable_lines(std::string(500, 'x')), std::string(500, 'x'));
}

}  // namespace
}  // namespace attn
