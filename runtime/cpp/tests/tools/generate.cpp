// What the inner parts of generation answer, for tests that hold them against Python's. Standard input and output are one JSON document.
//
//   attn_generate_tool tokenize TOKENIZER.json    texts -> [token, begin, end] of each, or what was refused
//   attn_generate_tool decode TOKENIZER.json      rows of tokens -> texts
//   attn_generate_tool tokenizers                 [{tokenizer, texts, pairs, rows}] -> [{tokens, pairs: [tokens, types], texts,
//                                                 beginnings}], or what was refused
//   attn_generate_tool unicode                    texts -> [in lower case, in normal form C] of each
//   attn_generate_tool random                     seeds -> the first numbers that each draws
//   attn_generate_tool replay BUNDLE PRECISION    (no input) what is generated again: [case, whether it passed, problem] of each try
//   attn_generate_tool generators BUNDLE...       (no input) what opening each bundle's generator and reading its cases says
#include <cstdio>
#include <iostream>
#include <iterator>
#include <string>

#include "c_api/errors.h"
#include "generate/graphs/graph_io.h"
#include "tokenizer/tokenizer.h"
#include "unicode/normal_forms.h"
#include "util/random.h"
#include "verify/generated_cases.h"
#include "verify/replay.h"

namespace {

constexpr int drawn = 6;
const std::string where = "bundle a.attn";

attn::Json input() {
  return attn::parse_json(std::string(std::istreambuf_iterator<char>(std::cin), {}), "standard input");
}

attn::Json tokenize(const attn::Tokenizer& tokenizer, const attn::Json& texts) {
  attn::Json rows = attn::Json::array();
  for (const attn::Json& text : texts) {
    attn::Json row = attn::Json::array();
    try {
      for (const auto& [token, begin, end] : tokenizer.encode(attn::code_points(text.get<std::string>()))) row.push_back({token, begin, end});
    } catch (const attn::Error& error) {
      row = error.what();
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<int64_t> tokens_of(const std::vector<attn::Found>& found) {
  std::vector<int64_t> tokens;
  for (const attn::Found& each : found) tokens.push_back(each.token);
  return tokens;
}

// A list of what `read` makes of each; of one that can't be read, what was refused.
template <typename Read>
attn::Json each_of(const attn::Json& values, Read read) {
  attn::Json made = attn::Json::array();
  for (const attn::Json& value : values) {
    try {
      made.push_back(read(value));
    } catch (const attn::Error& error) {
      made.push_back(error.what());
    }
  }
  return made;
}

attn::Json all_of(const attn::Json& asked) {
  const attn::Tokenizer tokenizer(asked.at("tokenizer"), where);
  const auto points = [](const attn::Json& text) { return attn::code_points(text.get<std::string>()); };
  const auto pair = [&](const attn::Json& texts) {
    const std::u32string second = points(texts[1]);
    const auto found = tokenizer.encode(points(texts[0]), &second);
    return attn::Json{tokens_of(found.tokens), found.types};
  };
  const auto beginnings = [&](const attn::Json& row) {
    const auto tokens = row.get<std::vector<int64_t>>();
    attn::Json found = attn::Json::array();
    for (size_t count = 0; count <= tokens.size(); ++count) {
      found.push_back(tokenizer.decode_beginning({tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(count)}));
    }
    return found;
  };
  return {{"tokens", each_of(asked.at("texts"), [&](const attn::Json& text) { return tokens_of(tokenizer.encode(points(text))); })},
          {"pairs", each_of(asked.at("pairs"), pair)},
          {"texts", each_of(asked.at("rows"), [&](const attn::Json& row) { return tokenizer.decode(row.get<std::vector<int64_t>>()); })},
          {"beginnings", each_of(asked.at("rows"), beginnings)}};
}

attn::Json answer(const std::string& what, int count, char** arguments) {
  attn::Json rows = attn::Json::array();
  if (what == "random") {
    for (const attn::Json& seed : input()) {
      attn::RandomStream stream(seed.get<uint64_t>());
      attn::Json row = attn::Json::array();
      for (int i = 0; i < drawn; ++i) row.push_back(stream.next());
      rows.push_back(std::move(row));
    }
  } else if (what == "tokenizers") {
    rows = each_of(input(), all_of);
  } else if (what == "unicode") {
    for (const attn::Json& text : input()) {
      attn::Characters lower = attn::characters(attn::code_points(text.get<std::string>())), composed = lower;
      attn::lower_case(lower);
      attn::normalize(composed, attn::NormalForm::nfc);
      rows.push_back({attn::utf8_of(lower), attn::utf8_of(composed)});
    }
  } else if (what == "replay") {
    attn::OpenOptions options;
    options.device = "cpu";
    options.threads = 1;
    options.precision = arguments[1];
    for (const attn::Replayed& each : attn::replay_generation(attn::Bundle::open(arguments[0]), options, {})) {
      rows.push_back({each.test_case, each.passed(), each.problem});
    }
  } else if (what == "generators") {
    for (int i = 0; i < count; ++i) {
      const int status = attn::guarded([&] {
        const auto bundle = attn::Bundle::open(arguments[i]);
        attn::GraphIO::of(*bundle, std::nullopt);
        attn::for_generated_cases(*bundle, [](const attn::GeneratedCase&) {});
      });
      rows.push_back({status, attn_last_error()});
    }
  } else {
    const attn::Tokenizer tokenizer(attn::read_json(arguments[0], where), where);
    if (what == "tokenize") return tokenize(tokenizer, input());
    for (const attn::Json& row : input()) rows.push_back(tokenizer.decode(row.get<std::vector<int64_t>>()));
  }
  return rows;
}

}  // namespace

int main(int count, char** arguments) {
  const std::string what = count > 1 ? arguments[1] : "";
  const bool file = what == "tokenize" || what == "decode";
  const bool none = what == "random" || what == "unicode" || what == "tokenizers" || what == "generators";
  if (!(none || (what == "replay" && count == 4) || (file && count == 3))) {
    std::fprintf(stderr,
                 "usage: attn_generate_tool tokenize FILE|decode FILE|tokenizers|unicode|random|replay BUNDLE PRECISION|"
                 "generators BUNDLE...\n");
    return 2;
  }
  const int status = attn::guarded([&] { std::cout << answer(what, count - 2, arguments + 2).dump() << std::endl; });
  if (status) std::fprintf(stderr, "%s\n", attn_last_error());
  return status;
}
