// Strict JSON.
#include <gtest/gtest.h>

#include "format/json.h"
#include "support/scratch.h"

namespace attn {
namespace {

std::string refusal(const std::string& text) {
  return raised([&] { parse_json(text, "a.json"); });
}

TEST(Json, TellsWhyItIsRefused) {
  const std::string end = "; re-export the bundle or restore the file";
  const std::pair<std::string, std::string> cases[] = {
      {R"({"a": 1, "b": 2, "b": 3, "a": 4})", "a.json: key \"b\" occurs twice in one object"},
      {R"({"a": {"b": 1, "b": 2}, "a": 1})", "a.json: key \"b\" occurs twice in one object"},
      {"1e999", "a.json: number \"1e999\" is out of range, expected a finite double"},
      {"-1e999", "a.json: number \"-1e999\" is out of range, expected a finite double"},
      {"9223372036854775808", "a.json: integer \"9223372036854775808\" is out of range, expected 64 bits"},
      {"-9223372036854775809", "a.json: integer \"-9223372036854775809\" is out of range, expected 64 bits"},
      {"18446744073709551616", "a.json: integer \"18446744073709551616\" is out of range, expected 64 bits"},
      {std::string(5000, '9'), "a.json: integer \"" + std::string(39, '9') + "... (5002 characters) is out of range, expected 64 bits"},
      {"\"\xe9\"", "a.json is not UTF-8"},
      {"\"\xff\"", "a.json is not UTF-8"},
      {"\"\xed\xa0\x80\"", "a.json is not UTF-8"},
      {"\xc3", "a.json is not UTF-8"},
      {std::string(200'000, '['), "a.json is nested too deeply"},
  };
  for (const auto& [text, message] : cases) EXPECT_EQ(refusal(text), message + end) << text.substr(0, 60);
}

TEST(Json, WhatIsNoJsonIsTold) {
  using namespace std::string_literals;
  for (const std::string& text : {""s, " "s, "{"s, "["s, "nul"s, "01"s, "1."s, "+1"s, "[1,]"s, "{\"a\":1,}"s, "'a'"s, "\"a\nb\""s, "[] []"s,
                                  "[]\0"s, "[]\0{}"s, "\0[]"s, "\xef\xbb\xbf[]"s, "// a\n1"s, "\"\\x\""s, "{a: 1}"s, "[NaN]"s, "[1, -Infinity]"s, R"("\ud800")"s, R"("\udc00")"s, "\x1b[2J"s,
                                  "[\"'; expected \x7f\x12\"]"s, "[\"; last read: \x1b - \x12\"]"s}) {
    const std::string message = refusal(text);
    EXPECT_EQ(message.find("a.json is not JSON: "), 0u) << text << ": " << message;
    for (const char c : message) EXPECT_TRUE(c >= ' ' && c <= '~') << message;
    EXPECT_LT(message.size(), 250u);
  }
  EXPECT_NE(refusal("[1,\n x]").find(" at line 2;"), std::string::npos) << refusal("[1,\n x]");
}

TEST(Json, KeepsTheOrderAndOneKindOfNumber) {
  const Json value = parse_json(R"({"b": 1.0, "a": [2.5, -0.0, 1e3, -9223372036854775808, 1e300], "c": {"d": null}})", "");
  EXPECT_EQ(shown(value, 200), R"({"b":1,"a":[2.5,0,1000,-9223372036854775808,1e+300],"c":{"d":null}})");
  EXPECT_TRUE(value["b"].is_number_integer());
}

TEST(Json, NestsAsDeepAsThis) {
  const auto nested = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_EQ(shown(parse_json(nested(max_json_depth), ""), 2000).size(), 2 * max_json_depth);
  EXPECT_NE(raised([&] { parse_json(nested(max_json_depth + 1), ""); }), "");
}

TEST(Json, ManyKeysAreReadInTimeThatGrowsWithThem) {
  std::string text = "{";
  for (int i = 0; i < 300'000; ++i) text += "\"" + std::to_string(i) + "\":0,";
  EXPECT_EQ(parse_json(text + "\"a\":0}", "").size(), 300'001u);
  EXPECT_NE(refusal(text + "\"77\":0}").find("key \"77\" occurs twice"), std::string::npos);
}

}  // namespace
}  // namespace attn
