// Text for messages.
#include <gtest/gtest.h>

#include "util/names.h"
#include "util/text.h"

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
  EXPECT_EQ(printable("\xE2\x80\xAE"), "\xEF\xBF\xBD");  // right-to-left override
}

}  // namespace
}  // namespace attn
