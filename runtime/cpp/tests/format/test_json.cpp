// Strict JSON, the patterns and the schema.
#include <gtest/gtest.h>

#include "bundle/pattern.h"
#include "bundle/schema.h"
#include "format/json.h"
#include "support/scratch.h"

namespace attn {
namespace {

std::string refusal(const std::string& text) {
  return raised([&] { parse_json(text, "a.json"); });
}

TEST(Json, TellsWhyInTheWordsOfPython) {
  const std::string end = "; re-export the bundle or restore the file";
  const std::pair<std::string, std::string> cases[] = {
      {R"({"a": 1, "b": 2, "b": 3, "a": 4})", "a.json: key \"b\" occurs twice in one object"},
      {R"({"a": {"b": 1, "b": 2}, "a": 1})", "a.json: key \"b\" occurs twice in one object"},
      {"[NaN]", "a.json: NaN is no JSON number, expected a finite one or null"},
      {"[Infinity]", "a.json: Infinity is no JSON number, expected a finite one or null"},
      {"[1, -Infinity]", "a.json: -Infinity is no JSON number, expected a finite one or null"},
      {"1e999", "a.json: number \"1e999\" is out of range, expected a finite double"},
      {"-1e999", "a.json: number \"-1e999\" is out of range, expected a finite double"},
      {"9223372036854775808", "a.json: integer \"9223372036854775808\" is out of range, expected 64 bits"},
      {"-9223372036854775809", "a.json: integer \"-9223372036854775809\" is out of range, expected 64 bits"},
      {"18446744073709551616", "a.json: integer \"18446744073709551616\" is out of range, expected 64 bits"},
      {std::string(5000, '9'), "a.json: integer \"" + std::string(39, '9') + "... (5002 characters) is out of range, expected 64 bits"},
      {R"("\ud800")", "a.json is not UTF-8: surrogates not allowed"},
      {R"("\udc00")", "a.json is not UTF-8: surrogates not allowed"},
      {"\"\xe9\"", "a.json is not UTF-8: invalid continuation byte"},
      {"\"\xff\"", "a.json is not UTF-8: invalid start byte"},
      {"\"\xed\xa0\x80\"", "a.json is not UTF-8: invalid continuation byte"},
      {"\xc3", "a.json is not UTF-8: unexpected end of data"},
      {std::string(200'000, '['), "a.json is nested too deeply"},
  };
  for (const auto& [text, message] : cases) EXPECT_EQ(refusal(text), message + end) << text.substr(0, 60);
}

TEST(Json, WhatIsNoJsonIsTold) {
  using namespace std::string_literals;
  for (const std::string& text : {""s, " "s, "{"s, "["s, "nul"s, "01"s, "1."s, "+1"s, "[1,]"s, "{\"a\":1,}"s, "'a'"s, "\"a\nb\""s, "[] []"s,
                                  "[]\0"s, "[]\0{}"s, "\0[]"s, "\xef\xbb\xbf[]"s, "// a\n1"s, "\"\\x\""s, "{a: 1}"s, "\x1b[2J"s,
                                  "[\"'; expected \x7f\x12\"]"s, "[\"; last read: \x1b - \x12\"]"s}) {
    const std::string message = refusal(text);
    EXPECT_EQ(message.find("a.json is not JSON: "), 0u) << text << ": " << message;
    for (const char c : message) EXPECT_TRUE(c >= ' ' && c <= '~') << message;
    EXPECT_LT(message.size(), 250u);
  }
  EXPECT_NE(refusal("[1,\n \"\xc3\xb6\", x]").find(" at line 2 column 7;"), std::string::npos) << refusal("[1,\n \"\xc3\xb6\", x]");
}

TEST(Json, KeepsTheOrderAndOneKindOfNumber) {
  const Json value = parse_json(R"({"b": 1.0, "a": [2.5, -0.0, 1e3, -9223372036854775808, 1e300], "c": {"d": null}})", "");
  EXPECT_EQ(shown(value, 200), R"({"b": 1, "a": [2.5, 0, 1000, -9223372036854775808, 1e+300], "c": {"d": null}})");
  EXPECT_TRUE(value["b"].is_number_integer());
  const std::string reals = "[0.0001, 1e-05, -0.00012, 1234567890123456.8, 9500000000000000.0, 1e+16, -1.5e+16, 0.1, 5e-324, 3.6e+16]";
  EXPECT_EQ(shown(parse_json(reals, ""), 200), reals);
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

TEST(Json, IsShownInAscii) {
  EXPECT_EQ(shown("a\"\\\n\x1b\x7f\xc3\xa9\xf0\x9f\x98\x80"), R"("a\"\\\n\u001b\u007f\u00e9\ud83d\ude00")");
  EXPECT_EQ(shown(std::string(100, 'a'), 10), "\"aaaaaaaaa... (102 characters)");
}

TEST(Pattern, MatchesWhatItSays) {
  struct Case {
    const char* pattern;
    std::vector<std::u32string> yes, no;
  };
  const Case cases[] = {
      {"^[0-9]*$", {U"", U"0", U"129"}, {U"1\n", U"a", U"1a", U" 1"}},
      {"^[A-Za-z0-9_][A-Za-z0-9._+-]*(/[A-Za-z0-9_][A-Za-z0-9._+-]*)*$",
       {U"a", U"a/b", U"a-b+c.d/e_f/0"},
       {U"", U"/a", U"a/", U"a//b", U".a", U"a/.b", U"a\\b", U"a/b\n", U"é"}},
      {"^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028-\\u202e\\u2066-\\u2069]*$",
       {U"", U"a é \U0001f600 -"},
       {U"\n", std::u32string(1, U'\0'), U"a\u009b", U"\u202e", U"\u2028", U"\x7f"}},
      {"^[0-9]{2}([.][0-9]{1,3})?(Z|[+-][0-9]{2})$", {U"12Z", U"12.1+03", U"12.123-00"}, {U"12", U"1Z", U"12.Z", U"12.1234Z", U"12.1*03"}},
      {"^[^/\\\\]+$", {U"a"}, {U"", U"a/b", U"a\\b"}},
      {"^(a|bc|)d$", {U"ad", U"bcd", U"d"}, {U"abcd", U"bd", U"a"}},
      {"^(a*)*b$", {U"b", U"aaab"}, {U"a", U"aaaa"}},
      {"^a{2,}$", {U"aa", U"aaaaa"}, {U"a", U""}},
  };
  for (const Case& one : cases) {
    const Pattern pattern(one.pattern);
    for (const auto& text : one.yes) EXPECT_TRUE(pattern.matches(text)) << one.pattern << " " << (&text - one.yes.data());
    for (const auto& text : one.no) EXPECT_FALSE(pattern.matches(text)) << one.pattern << " " << (&text - one.no.data());
  }
  // A matcher that tries one way after the other takes 2**40 steps here.
  EXPECT_FALSE(Pattern("^(a|a)*(a|a)*$").matches(std::u32string(100'000, U'a') + U"b"));
}

TEST(Pattern, RefusesWhatItDoesNotRead) {
  for (const char* pattern : {"a", "^a", "^(a$", "^a)$", "^[a$", "^\\d$", "^.$", "^a{x}$", "^*$", "^a$b$", "^(?:a)$", "^[\\u12]$"}) {
    EXPECT_THROW(Pattern{pattern}, std::invalid_argument) << pattern;
  }
}

Json json(const std::string& text) { return parse_json(text, "test"); }

TEST(Schema, EveryKeywordRefusesSomething) {
  struct Case {
    const char *rule, *good, *bad, *problem;
  };
  const Case cases[] = {
      {R"({"$ref": "#/$defs/size"})", "0", "-1", "top level: got -1, expected at least 0"},
      {R"({"type": ["null", "string"]})", "null", "1", "top level: got 1, expected null or string"},
      {R"({"type": "integer"})", "1.0", "true", "top level: got true, expected integer"},
      {R"({"type": "integer"})", "1e300", "1.5", "top level: got 1.5, expected integer"},
      {R"({"type": "number"})", "1.5", "true", "top level: got true, expected number"},
      {R"({"enum": ["a", 1]})", "\"a\"", "true", "top level: got true, expected one of \"a\", 1"},
      {R"({"const": 1})", "1.0", "true", "top level: got true, expected 1"},
      {R"({"minimum": 1})", "1", "0.5", "top level: got 0.5, expected at least 1"},
      {R"({"maximum": 1})", "1", "1.5", "top level: got 1.5, expected at most 1"},
      {R"({"maximum": 9223372036854775807})", "9223372036854775807", "9223372036854775807.0",
       "top level: got 9.223372036854776e+18, expected at most 9223372036854775807"},
      {R"({"exclusiveMinimum": 1})", "1.5", "1", "top level: got 1, expected more than 1"},
      {R"({"minLength": 1})", "\"a\"", "\"\"", "top level: got \"\", expected 1 to any number of characters"},
      {R"({"maxLength": 1})", "\"\xf0\x9f\x98\x80\"", "\"ab\"", "top level: got \"ab\", expected 0 to 1 characters"},
      {R"({"pattern": "^[0-9]*$"})", "\"1\"", "\"1\\n\"", "top level: got \"1\\n\", expected a match of ^[0-9]*$"},
      {R"({"pattern": "^[0-9]*$", "description": "digits"})", "\"1\"", "\"x\"", "top level: got \"x\", expected digits"},
      {R"({"items": {"type": "null"}})", "[null]", "[null, 1]", "[1]: got 1, expected null"},
      {R"({"minItems": 1})", "[0]", "[]", "top level: got [], expected 1 to any number of items"},
      {R"({"maxItems": 1})", "[0]", "[0, 0]", "top level: got [0, 0], expected 0 to 1 items"},
      {R"({"required": ["a"]})", R"({"a": 1})", R"({"b": 1})", "top level: key \"a\" is missing"},
      {R"({"properties": {"a": {"type": "null"}}})", R"({"b": 1})", R"({"a": 1})", "a: got 1, expected null"},
      {R"({"additionalProperties": false, "properties": {"a": {}}})", R"({"a": 1})", R"({"b": 1})",
       "top level: unknown key \"b\", expected a"},
      {R"({"additionalProperties": {"items": {"type": "null"}}})", R"({"a": []})", R"({"a b": [1]})", "[\"a b\"][0]: got 1, expected null"},
      {R"({"propertyNames": {"maxLength": 1}})", R"({"a": 1})", R"({"ab": 1})", "top level, key: got \"ab\", expected 0 to 1 characters"},
      {R"({"minProperties": 1})", R"({"a": 1})", "{}", "top level: got {}, expected 1 to any number of keys"},
      {R"({"maxProperties": 1})", R"({"a": 1})", R"({"a": 1, "b": 1})", "top level: got {\"a\": 1, \"b\": 1}, expected 0 to 1 keys"},
  };
  for (const Case& one : cases) {
    EXPECT_EQ(find_problem(json(one.good), json(one.rule), manifest_schema()).value_or(""), "") << one.rule << one.good;
    EXPECT_EQ(find_problem(json(one.bad), json(one.rule), manifest_schema()).value_or(""), one.problem) << one.rule;
  }
}

}  // namespace
}  // namespace attn
