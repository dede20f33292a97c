// What single parts of a tokenizer make of texts, for tests that hold them against the `tokenizers` library. Standard input is a JSON list of
// {"part": "normalizer", "pre_tokenizer" or "regex", "value": that part of a tokenizer.json, or a pattern, "texts": [...]}, standard output
// one of what each makes of its texts, or of what was refused:
//
//   normalizer, pre_tokenizer    of each piece [text, the first character that it stands for, the one behind the last]
//   regex                        of each match [first character, the one behind the last]
#include <cstdio>
#include <iostream>
#include <iterator>
#include <string>

#include "c_api/errors.h"
#include "regex/regex.h"
#include "tokenizer/parts.h"

namespace {

const std::string where = "bundle a.attn";

attn::Json written(const attn::Characters& piece) {
  const std::string text = attn::utf8_of(piece);
  if (piece.empty()) return {text, 0, 0};
  return {text, piece.front().begin, piece.back().end};
}

attn::Json answer(const attn::Json& asked) {
  const std::string what = asked.at("part");
  attn::Json rows = attn::Json::array();
  const auto for_texts = [&](auto make) {
    for (const attn::Json& text : asked.at("texts")) rows.push_back(make(attn::code_points(text.get<std::string>())));
  };
  try {
    if (what == "normalizer") {
      const auto normalizer = attn::read_normalizer(asked.at("value"), where);
      for_texts([&](const std::u32string& text) {
        attn::Characters changed = attn::characters(text);
        normalizer->apply(changed);
        attn::Json row = attn::Json::array();
        for (const attn::Character& each : changed) row.push_back(written({each}));
        return row;
      });
    } else if (what == "pre_tokenizer") {
      const auto pre_tokenizer = attn::read_pre_tokenizer(asked.at("value"), where);
      for_texts([&](const std::u32string& text) {
        attn::Json row = attn::Json::array();
        for (const attn::Characters& piece : pre_tokenizer->split(attn::characters(text))) row.push_back(written(piece));
        return row;
      });
    } else {
      const attn::Regex regex(attn::code_points(asked.at("value").get<std::string>()));
      for_texts([&](const std::u32string& text) {
        attn::Json row = attn::Json::array();
        for (const auto& [begin, end] : regex.find_all(text)) row.push_back({begin, end});
        return row;
      });
    }
  } catch (const attn::Error& error) {
    return error.what();
  } catch (const attn::PatternError& error) {
    return error.what();
  }
  return rows;
}

}  // namespace

int main() {
  const int status = attn::guarded([] {
    const attn::Json asked = attn::parse_json(std::string(std::istreambuf_iterator<char>(std::cin), {}), "standard input");
    attn::Json answers = attn::Json::array();
    for (const attn::Json& each : asked) answers.push_back(answer(each));
    std::cout << answers.dump() << std::endl;
  });
  if (status) std::fprintf(stderr, "%s\n", attn_last_error());
  return status;
}
