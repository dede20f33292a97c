// The tokenizer: what is refused. What it answers is held against the `tokenizers` library in tests/cpp/tokenizer/test_tokenizer_cpp.py.
#include <gtest/gtest.h>

#include "support/scratch.h"
#include "tokenizer/tokenizer.h"

namespace attn {
namespace {

Json valid() {
  return Json::parse(R"({
    "version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [{"id": 0, "content": "[PAD]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
                      "special": true}],
    "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null,
    "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
    "model": {"type": "WordLevel", "vocab": {"[PAD]": 0, "[UNK]": 1, "a": 2, "cat": 3, ".": 4}, "unk_token": "[UNK]"}})");
}

std::string refused(const std::string& pointer, const std::string& value) {
  Json changed = valid();
  changed[Json::json_pointer(pointer)] = Json::parse(value);
  return raised([&] { Tokenizer(changed, "bundle a.attn"); });
}

TEST(Tokenizer, ReadsAndWrites) {
  const Tokenizer tokenizer(valid(), "bundle a.attn");
  const auto found = tokenizer.encode(U"A [PAD]dog.");
  ASSERT_EQ(found.size(), 4U);
  EXPECT_EQ(found[1].token, 0);
  EXPECT_EQ(found[2].token, 1);
  EXPECT_EQ(found[2].begin, 7U);
  EXPECT_EQ(found[2].end, 10U);
  EXPECT_EQ(tokenizer.decode({2, 0, 3, 4, 99}), "a cat.");
  EXPECT_TRUE(tokenizer.encode(U"").empty());
}

TEST(Tokenizer, TellsOfABeginningWhatNoLaterTokenChanges) {
  Json value = valid();
  value["added_tokens"][0]["special"] = true;
  value["model"]["vocab"] = {{"[PAD]", 0}, {"a", 1}, {"b", 2}, {" ", 3}, {".", 4}, {"##a", 5}, {"aa", 6}, {"\u00e9", 7}, {"[UNK]", 8}};
  const auto replace = [](const char* wanted, const char* content) {
    return Json{{"type", "Replace"}, {"pattern", {{"String", wanted}}}, {"content", content}};
  };
  const Json fuse = {{"type", "Fuse"}}, pieces = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  const auto sequence = [](const std::vector<Json>& steps) { return Json{{"type", "Sequence"}, {"decoders", steps}}; };
  const auto with = [&](const Json& decoder) {
    value["decoder"] = decoder;
    return Tokenizer(value, "bundle a.attn");
  };
  EXPECT_EQ(with(pieces).decode_beginning({1, 0, 5, 4}), "aa.");
  EXPECT_EQ(with(nullptr).decode_beginning({1, 2}), "a b");
  const Tokenizer cleaned = with(sequence({fuse, replace(" .", ".")}));
  EXPECT_EQ(cleaned.decode_beginning({1, 3}), "a");
  EXPECT_EQ(cleaned.decode_beginning({1, 3, 4}), "a.");
  EXPECT_EQ(cleaned.decode_beginning({3, 3, 1}), "  a");
  EXPECT_EQ(with(sequence({fuse, replace("aa", "b")})).decode_beginning({1, 1}), "b");  // a match holds nothing back
  EXPECT_EQ(with(sequence({fuse, replace("aab", "b")})).decode_beginning({1, 1, 1}), "a");
  EXPECT_EQ(with(sequence({fuse, replace("\u00e9b", "b")})).decode_beginning({1, 7}), "a");
  EXPECT_EQ(with(sequence({fuse, pieces})).decode_beginning({1, 1}), "");  // how far back it reaches can't be told
  const std::vector<Json> steps = {fuse, pieces, replace(" .", "."), replace("aa", "b"), replace("aab", ""), replace("a", "b "), replace("b ", "a")};
  uint32_t state = 1;
  const auto draw = [&](size_t below) { return (state = state * 1664525 + 1013904223) / 65536 % below; };
  size_t early = 0;
  for (int i = 0; i < 3000; ++i) {
    std::vector<Json> some;
    for (size_t left = draw(4); left-- > 0;) some.push_back(steps[draw(steps.size())]);
    const Tokenizer tokenizer = with(sequence(some));
    std::vector<int64_t> tokens(draw(10));
    for (int64_t& token : tokens) token = static_cast<int64_t>(draw(9));
    const std::string whole = tokenizer.decode(tokens);
    std::string before;
    for (size_t count = 0; count <= tokens.size(); ++count) {
      const std::string told = tokenizer.decode_beginning({tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(count)});
      ASSERT_EQ(told.compare(0, before.size(), before), 0) << value["decoder"] << Json(tokens);
      ASSERT_EQ(whole.compare(0, told.size(), told), 0) << value["decoder"] << Json(tokens);
      before = told;
    }
    early += before.size();
  }
  EXPECT_GT(early, 5000U);
}

TEST(Tokenizer, RefusesInOneLineWhatItDoesNotKnow) {
  EXPECT_EQ(refused("/model", R"({"type": "Odd"})"),
            "bundle a.attn: asset tokenizer: model Odd: is not supported; supported are BPE, Unigram, WordPiece and WordLevel (in C++). "
            "Give tokens, or use attn-run");
  EXPECT_EQ(refused("/normalizer", R"({"type": "Odd"})"),
            "bundle a.attn: asset tokenizer: normalizer Odd: is not supported; supported are BertNormalizer, ByteLevel, Lowercase, NFC, NFD, NFKC, "
            "NFKD, Nmt, Precompiled, Prepend, Replace, Sequence, Strip, StripAccents (in C++). Give tokens, or use attn-run");
  const auto added = [](int id, const char* word, bool normalized) {
    return Json({{"id", id}, {"content", word}, {"single_word", false}, {"lstrip", false}, {"rstrip", false}, {"normalized", normalized},
                 {"special", true}}).dump();
  };
  const auto bpe = [](const char* rest) { return R"({"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, )" + std::string(rest) + "}"; };
  const auto single = [](const char* pieces) {
    return R"({"type": "TemplateProcessing", "pair": [], "special_tokens": {}, "single": )" + std::string(pieces) + "}";
  };
  const std::string bert = R"({"type": "BertProcessing", "sep": ["a", 1], "cls": ["a", 1]})";
  const std::pair<const char*, std::string> cases[] = {
      {"/version", R"("2.0")"},
      {"/surprise", "1"},
      {"/padding", "[]"},
      {"/normalizer", R"({"type": "Sequence", "normalizers": [null]})"},
      {"/pre_tokenizer", R"({"type": "Split", "pattern": {"String": "a"}, "behavior": "Isolated"})"},
      {"/decoder", R"({"type": "WordPiece", "prefix": "##", "cleanup": null})"},
      {"/post_processor", R"({"type": "TemplateProcessing"})"},
      {"/normalizer", R"({"type": "Lowercase", "more": true})"},
      {"/normalizer", R"({"type": "Replace", "pattern": {"Regex": "(a"}, "content": "b"})"},
      {"/normalizer", R"({"type": "Replace", "pattern": {"Regex": "(a)\\1"}, "content": "b"})"},
      {"/normalizer", R"({"type": "Replace", "pattern": {"Odd": "a"}, "content": "b"})"},
      {"/normalizer", R"({"type": "Precompiled", "precompiled_charsmap": "AAAA"})"},
      {"/normalizer", R"({"type": "Replace", "pattern": {"String": ""}, "content": "b"})"},
      {"/normalizer", R"({"type": "Sequence", "normalizers": [{"type": "Strip"}]})"},
      {"/normalizer", R"("Lowercase")"},
      {"/normalizer", R"({})"},
      {"/pre_tokenizer", R"({"type": "ByteLevel"})"},
      {"/pre_tokenizer", R"({"type": "UnicodeScripts"})"},
      {"/pre_tokenizer", R"({"type": "Metaspace", "replacement": "ab"})"},
      {"/pre_tokenizer", R"({"type": "Metaspace", "replacement": "_", "prepend_scheme": "odd"})"},
      {"/pre_tokenizer", R"({"type": "Metaspace", "replacement": "_", "prepend_scheme": "first", "add_prefix_space": false})"},
      {"/pre_tokenizer", R"({"type": "FixedLength", "length": 0})"},
      {"/pre_tokenizer", R"({"type": "Split", "pattern": {"String": "a"}, "behavior": "Odd", "invert": false})"},
      {"/decoder", R"({"type": "BPEDecoder", "suffix": ""})"},
      {"/decoder", R"({"type": "Replace", "pattern": {"Regex": "(a"}, "content": ""})"},
      {"/model", "null"},
      {"/model", R"({"type": "BPE"})"},
      {"/model/vocab", "[1]"},
      {"/model/vocab/a", "-1"},
      {"/model/vocab/a", "3"},
      {"/model/vocab/a", "4294967296"},
      {"/model/unk_token", "null"},
      {"/added_tokens", "7"},
      {"/added_tokens/0/content", R"("")"},
      {"/added_tokens/0/content", R"("<new>")"},
      {"/added_tokens/0/id", "1"},
      {"/added_tokens/0/lstrip", "1"},
      {"/added_tokens/0/special", "null"},
      {"/added_tokens/1", added(0, "[PAD]", false)},
      {"/added_tokens/1", added(7, "<new>", false)},
      {"/added_tokens/1", added(2, "A", true)},
      {"/model", R"({"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a b"]})"},
      {"/model", bpe(R"("merges": ["a  b"])")},
      {"/model", bpe(R"("merges": [["a"]])")},
      {"/model", bpe(R"("merges": [["a", "c"]])")},
      {"/model", bpe(R"("merges": ["a b"], "continuing_subword_prefix": "##")")},
      {"/model", R"({"type": "BPE", "vocab": {"a": 0}, "merges": [], "dropout": 0.1})"},
      {"/model", R"({"type": "BPE", "vocab": {"a": 0}, "merges": [], "surprise": 1})"},
      {"/model", R"({"type": "BPE", "vocab": {"a": 0}, "merges": {}})"},
      {"/model", R"({"type": "Unigram", "vocab": {"a": 0}, "unk_id": 0})"},
      {"/model", R"({"type": "Unigram", "vocab": [["a", "b"]], "unk_id": 0})"},
      {"/model", R"({"type": "Unigram", "vocab": [["a", 0]], "unk_id": 1})"},
      {"/model", R"({"type": "Unigram", "vocab": [["a", 0]], "unk_id": -1})"},
      {"/model", R"({"type": "WordPiece", "vocab": {}, "unk_token": "", "continuing_subword_prefix": "", "max_input_chars_per_word": -1})"},
      {"/model", R"({"type": "Magic", "vocab": {}})"},
      {"/post_processor", single(R"([])")},
      {"/post_processor", single(R"([{"Sequence": {"id": "B", "type_id": 0}}])")},
      {"/post_processor", single(R"([{"SpecialToken": {"id": "x", "type_id": 0}}])")},
      {"/post_processor", R"({"type": "BertProcessing", "sep": ["a", -1], "cls": ["a", 1]})"},
      {"/post_processor", R"({"type": "Sequence", "processors": [)" + bert + "," + bert + "]}"},
      {"/decoder", R"({"type": "Strip", "content": " ", "start": 0, "stop": 1})"},
      {"/decoder", R"({"type": "Strip", "content": "  ", "start": 1, "stop": 0})"},
      {"/decoder", R"({"type": "Metaspace", "replacement": "_", "prepend_scheme": "odd"})"},
      {"/decoder", R"({"type": "Metaspace", "replacement": "_", "prepend_scheme": "first", "add_prefix_space": false})"},
      {"/decoder", R"({"type": "Sequence", "decoders": [null]})"},
  };
  for (const auto& [pointer, value] : cases) {
    const std::string message = refused(pointer, value);
    EXPECT_EQ(message.rfind("bundle a.attn: asset tokenizer: ", 0), 0U) << pointer << " " << value << ": " << message;
    EXPECT_EQ(message.find('\n'), std::string::npos);
    EXPECT_LT(message.size(), 400U);
  }
}

TEST(Tokenizer, NamesTheStepThatItDoesNotKnow) {
  EXPECT_EQ(refused("/decoder", R"({"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "Sequence", "decoders": [{"type": "Odd"}]}]})"),
            "bundle a.attn: asset tokenizer: decoder 2.1 Odd: is not supported; supported are WordPiece, ByteLevel, Metaspace, ByteFallback, Fuse, "
            "Replace, Strip, BPEDecoder, CTC and Sequence (in C++). Give tokens, or use attn-run");
}

TEST(Tokenizer, ReadsTokensWithHolesBetweenThem) {
  Json value = valid();
  value["model"]["vocab"] = {{"[PAD]", 0}, {"[UNK]", 70000}, {"a", 9}, {"cat", 4294967294}};
  const Tokenizer tokenizer(value, "bundle a.attn");
  EXPECT_EQ(tokenizer.encode(U"a cat dog")[1].token, 4294967294);
  EXPECT_EQ(tokenizer.encode(U"a cat dog")[2].token, 70000);
  EXPECT_EQ(tokenizer.decode({9, 1, 4294967294, -1, 4294967295}), "a cat");
}

TEST(Tokenizer, TakesAnUnknownCharacterForTenLessThanTheLeastProbableWord) {
  Json value = valid();
  value["added_tokens"] = nullptr;
  for (const auto& [score, tokens] : {std::pair(9.5, std::vector<int64_t>{2}), {10.5, std::vector<int64_t>{1, 0}}}) {
    value["model"] = Json::parse(R"({"type": "Unigram", "unk_id": 0, "vocab": [["[UNK]", 0.0], ["a", 0.0], ["ab", -2.0]]})");
    value["model"]["vocab"][1][1] = score;
    std::vector<int64_t> found;
    for (const auto& each : Tokenizer(value, "bundle a.attn").encode(U"ab")) found.push_back(each.token);
    EXPECT_EQ(found, tokens) << score;
  }
}

TEST(Tokenizer, RefusesToFillTheMemory) {
  const std::string piece = R"({"SpecialToken": {"id": "a", "type_id": 0}},)";
  std::string pieces, ids = "1";
  for (int i = 0; i < 3000; ++i) {
    pieces += piece;
    ids += ",1";
  }
  const std::string special = R"("pair": [], "special_tokens": {"a": {"ids": [)" + ids + "]}}";
  const std::string single = R"("single": [)" + pieces + R"({"Sequence": {"id": "A", "type_id": 0}}])";
  const std::string whole = R"({"type": "TemplateProcessing", )" + single + ", " + special + "}";
  const std::string message = refused("/post_processor", whole);
  EXPECT_EQ(message, "bundle a.attn: asset tokenizer: post_processor TemplateProcessing: single adds more than 4096 tokens (in C++). Give tokens, "
                     "or use attn-run");
  std::string steps;
  for (int i = 0; i < 9; ++i) {
    steps += std::string(i ? "," : "") + R"({"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaaaaaaaaaaaaaaaaa"})";
  }
  EXPECT_EQ(refused("/normalizer", R"({"type": "Sequence", "normalizers": [)" + steps + "]}"),
            "bundle a.attn: asset tokenizer: its replacements may make a text more than 4096 times as long; re-export the bundle");
}

TEST(Tokenizer, TellsOfAnUnknownWordWithoutAToken) {
  Json changed = valid();
  changed["model"]["unk_token"] = "[NONE]";
  const Tokenizer tokenizer(changed, "bundle a.attn");
  EXPECT_EQ(tokenizer.encode(U"a cat").size(), 2U);
  EXPECT_EQ(raised([&] { tokenizer.encode(U"a dog"); }), "WordLevel error: Missing [UNK] token from the vocabulary");
}

}  // namespace
}  // namespace attn
