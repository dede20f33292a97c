// A charsmap out of a bundle that nobody vouches for. What a good one does is held against the `tokenizers` library in
// tests/cpp/tokenizer/test_tokenizer_parts_cpp.py.
#include <gtest/gtest.h>

#include "tokenizer/charsmap.h"

namespace attn {
namespace {

std::string base64(const std::string& bytes) {
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string made;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k) bits = bits << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    for (size_t k = 0; k < 4; ++k) made += i + k > bytes.size() ? '=' : letters[bits >> (18 - 6 * k) & 63];
  }
  return made;
}

std::string of_units(const std::vector<uint32_t>& units, const std::string& texts) {
  std::string bytes;
  const auto put = [&](uint32_t value) {
    for (int i = 0; i < 4; ++i) bytes += static_cast<char>(value >> 8 * i & 0xFF);
  };
  put(static_cast<uint32_t>(4 * units.size()));
  for (const uint32_t unit : units) put(unit);
  return base64(bytes + texts);
}

std::string refused(const std::string& text) {
  try {
    Charsmap{text};
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

TEST(Charsmap, RefusesWhatIsNone) {
  EXPECT_EQ(refused(""), "is cut or no charsmap");
  EXPECT_EQ(refused("AAAA"), "is cut or no charsmap");
  EXPECT_EQ(refused("A"), "is no base64");
  EXPECT_EQ(refused("AA=A"), "is no base64");
  EXPECT_EQ(refused("A==="), "is no base64");
  EXPECT_EQ(refused("AA\nA"), "is no base64");
  EXPECT_EQ(refused(base64(std::string("\xFF\xFF\xFF\x7F----", 8))), "is cut or no charsmap");
  EXPECT_EQ(refused(of_units({0}, "\xFF")), "becomes texts that are no UTF-8");
  EXPECT_EQ(refused(of_units({0}, std::string(257, 'a'))), "makes a text of more than 256 bytes out of one");
  EXPECT_EQ(refused(of_units({0}, std::string(256, 'a'))), "");
}

TEST(Charsmap, StaysWithinItsUnitsWhateverTheySay) {
  uint32_t state = 1;
  const auto draw = [&](uint32_t below) { return (state = state * 1664525 + 1013904223) / 65536 % below; };
  const std::u32string letters = U"ab\u00e9\u0301\u0915\u094d\U0001f468\u200d\n\u1100\u1161";
  size_t changed = 0;
  for (int i = 0; i < 2000; ++i) {
    // A unit for each first byte, of which some lead to a text, some to nothing and some out of the array.
    std::vector<uint32_t> units(256 + draw(300));
    for (uint32_t place = 1; place < units.size(); ++place) {
      const uint32_t label = draw(8) ? place & 0xFF : draw(256);
      units[place] = place < 256 || draw(2) ? label | draw(2) << 8 | draw(16) / 15 << 9 | draw(600) << 10 : draw(12) | draw(2) << 31;
    }
    const Charsmap map(of_units(units, std::string("x\0\xC3\xA9y\0\0abc", 9)));
    std::u32string text;
    for (uint32_t left = draw(12); left-- > 0;) text += letters[draw(static_cast<uint32_t>(letters.size()))];
    Characters made = characters(text);
    map.apply(made);
    for (const Character& each : made) {
      ASSERT_LE(each.begin, each.end);
      ASSERT_LE(each.end, text.size());
      ASSERT_TRUE(each.value <= 0x10FFFF);
    }
    changed += made.size() != text.size();
  }
  EXPECT_GT(changed, 50U);
}

}  // namespace
}  // namespace attn
