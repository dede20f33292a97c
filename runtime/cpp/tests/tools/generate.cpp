// What the inner parts of generation answer, for tests that hold them against Python's. Standard input and output are one JSON document.
//
//   attn_generate_tool tokenize TOKENIZER.json    texts -> [token, begin, end] of each, or what was refused
//   attn_generate_tool decode TOKENIZER.json      rows of tokens -> texts
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

std::string utf8(const attn::Characters& text) {
  std::string made;
  for (const attn::Character& each : text) attn::append_utf8(made, each.value);
  return made;
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
  } else if (what == "unicode") {
    for (const attn::Json& text : input()) {
      attn::Characters lower = attn::characters(attn::code_points(text.get<std::string>())), composed = lower;
      attn::lower_case(lower);
      attn::normalize(composed, attn::NormalForm::nfc);
      rows.push_back({utf8(lower), utf8(composed)});
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
  if (!((what == "replay" && count == 4) || what == "random" || what == "unicode" || what == "generators" || (file && count == 3))) {
    std::fprintf(stderr, "usage: attn_generate_tool tokenize FILE|decode FILE|unicode|random|replay BUNDLE PRECISION|generators BUNDLE...\n");
    return 2;
  }
  const int status = attn::guarded([&] { std::cout << answer(what, count - 2, arguments + 2).dump() << std::endl; });
  if (status) std::fprintf(stderr, "%s\n", attn_last_error());
  return status;
}
