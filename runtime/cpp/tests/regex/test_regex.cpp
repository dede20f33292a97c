// Regular expressions: what is refused, and how long a search takes. What they match is held against the `tokenizers` library in
// tests/cpp/tokenizer/test_regex_cpp.py.
#include <gtest/gtest.h>

#include <chrono>

#include "regex/regex.h"
#include "util/unicode.h"

namespace attn {
namespace {

std::string refused(const std::string& pattern) {
  try {
    Regex{code_points(pattern)};
  } catch (const PatternError& error) {
    return error.what();
  }
  return "";
}

TEST(Regex, RefusesWithThePlaceWhatItDoesNotKnow) {
  EXPECT_EQ(refused("ab(c)\\1"), "at character 7: a backreference, or a character by an octal number, is not supported");
  const std::pair<const char*, const char*> cases[] = {
      {"(?>a+)b", "at character 0: this kind of group is not supported"},
      {"a(?<n>b)", "at character 1: this kind of group is not supported"},
      {"(?m).", "at character 0: this kind of group is not supported"},
      {"(?i:lasse)", "at character 7: \"ss\" where case is ignored, which may be one letter, is not supported"},
      {"(?i)\u00e9", "at character 5: this character where case is ignored is not supported"},
      {"(?i)[\\p{L}]", "at character 5: a property in a class where case is ignored is not supported"},
      {"(?i)[a&&b]", "at character 6: \"&&\" where case is ignored is not supported"},
      {"(?:a*)+", "at character 7: a repeat of what may be empty is not supported"},
      {"(?:ab)++", "at character 8: a possessive repeat of more than one character is not supported"},
      {"(?<=ab)c", "at character 0: a look behind at more than one character is not supported"},
      {"a(?!b*)", "at character 1: a look ahead at more than 64 characters is not supported"},
      {"(?!a(?=b))", "at character 4: a look within a look is not supported"},
      {"^*", "at character 2: a repeat of what takes no characters is not supported"},
      {"a{3}?", "at character 5: \"{n}?\" is not supported"},
      {"a{2,1}", "at character 6: a repeat whose least is above its most is not supported"},
      {"a{1001}", "at character 7: more than 1000 repeats are not supported"},
      {"a+{2}", "at character 5: this repeat of a repeat is not supported"},
      {"+a", "at character 0: a repeat of nothing"},
      {"(a", "at character 0: a \"(\" is not closed"},
      {"a)", "at character 1: a \")\" closes nothing"},
      {"[a", "at character 0: a \"[\" is not closed"},
      {"[b-a]", "at character 1: a range whose end is below its beginning"},
      {"[a-\\d]", "at character 3: a range to a class is not supported"},
      {"[\\d-z]", "at character 3: a range from a class is not supported"},
      {"[[:alpha:]]", "at character 1: a POSIX class is not supported"},
      {"\\p{Odd}", "at character 2: the property Odd is not supported"},
      {"\\pL", "at character 2: a property without braces is not supported"},
      {"\\X", "at character 2: this escape is not supported"},
      {"\\x{110000}", "at character 9: this is no code point"},
      {"\\", "at character 1: the pattern ends too early"},
      {"((((a{1000}){1000}){1000}){1000})", "at character 4: this many repeats and alternatives are not supported"},
  };
  for (const auto& [pattern, message] : cases) EXPECT_EQ(refused(pattern), message) << pattern;
  EXPECT_EQ(refused(std::string(100, '(')), "at character 64: groups more than 64 deep are not supported");
  EXPECT_EQ(refused(std::string(100, '[')), "at character 63: classes more than 64 deep are not supported");
  EXPECT_EQ(refused(std::string(9000, 'a')), "at character 8192: more than 8192 characters are not supported");
}

TEST(Regex, NoPatternMakesASearchSlow) {
  // Each takes an engine that backtracks without notes longer than anybody waits, or the square of the text.
  const char* patterns[] = {"(?:a|a|ab|a)*c", "(?:a{1,10}){1,10}c", "(?:a+|b)*?c", "a++c", "(?:a|b|ab)*(?:a|b|ba)*c", "(?:a+a)+c",
                            "a+(?=aaaa?b)c", "(?:(?!aaaac)a)+c", "[^c]+\\s+c"};
  const std::u32string text(100000, U'a');
  for (const char* pattern : patterns) {
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_TRUE(Regex(code_points(pattern)).find_all(text).empty());
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    EXPECT_LT(took.count(), 20) << pattern;  // a tenth of it, where nothing else runs
  }
}

TEST(Regex, FindsBehindAVeryLongSearch) {
  // Notes of what was in vain hold up to the match, and no further.
  std::u32string text(3000, U'a');
  text += U"c" + text + U"ab c";
  const auto found = Regex(U"(?:a|ab|b)*c|ab").find_all(text);
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[0].end, 3001U);
  EXPECT_EQ(found[1].begin, 6001U);
  EXPECT_EQ(found[2].begin, 6004U);
  // The first alternative comes first there too, though it has been there before: it is empty, and so no match.
  const auto ends = Regex(U"(?:a|b|ab)*|x").find_all(std::u32string(3000, U'a') + U"x");
  ASSERT_EQ(ends.size(), 2U);
  EXPECT_EQ(ends[1].begin, 3001U);
}

}  // namespace
}  // namespace attn
