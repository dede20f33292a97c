// The part of JSON Schema that the two schemas use.
#include <gtest/gtest.h>

#include "bundle/schema.h"
#include "format/json.h"

namespace attn {
namespace {

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
      {R"({"pattern": "^[0-9a-f]*$"})", "\"1\"", "\"1\\n\"", "top level: got \"1\\n\", expected a match of ^[0-9a-f]*$"},
      {R"({"pattern": "^[0-9a-f]*$", "description": "digits"})", "\"1\"", "\"x\"", "top level: got \"x\", expected digits"},
      {R"({"items": {"type": "null"}})", "[null]", "[null, 1]", "[1]: got 1, expected null"},
      {R"({"minItems": 1})", "[0]", "[]", "top level: got [], expected 1 to any number of items"},
      {R"({"maxItems": 1})", "[0]", "[0, 0]", "top level: got [0,0], expected 0 to 1 items"},
      {R"({"required": ["a"]})", R"({"a": 1})", R"({"b": 1})", "top level: key \"a\" is missing"},
      {R"({"properties": {"a": {"type": "null"}}})", R"({"b": 1})", R"({"a": 1})", "a: got 1, expected null"},
      {R"({"additionalProperties": false, "properties": {"a": {}}})", R"({"a": 1})", R"({"b": 1})",
       "top level: unknown key \"b\", expected a"},
      {R"({"additionalProperties": {"items": {"type": "null"}}})", R"({"a": []})", R"({"a b": [1]})", "[\"a b\"][0]: got 1, expected null"},
      {R"({"propertyNames": {"maxLength": 1}})", R"({"a": 1})", R"({"ab": 1})", "top level, key: got \"ab\", expected 0 to 1 characters"},
      {R"({"minProperties": 1})", R"({"a": 1})", "{}", "top level: got {}, expected 1 to any number of keys"},
      {R"({"maxProperties": 1})", R"({"a": 1})", R"({"a": 1, "b": 1})", "top level: got {\"a\":1,\"b\":1}, expected 0 to 1 keys"},
  };
  for (const Case& one : cases) {
    EXPECT_EQ(find_problem(json(one.good), json(one.rule), manifest_schema()).value_or(""), "") << one.rule << one.good;
    EXPECT_EQ(find_problem(json(one.bad), json(one.rule), manifest_schema()).value_or(""), one.problem) << one.rule;
  }
}

}  // namespace
}  // namespace attn
