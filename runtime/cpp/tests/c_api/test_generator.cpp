// The C interface of generators: what somebody else's program may hand in.
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "c_api/errors.h"
#include "ort/cores.h"
#include "support/bundles.h"
#include "support/child.h"

namespace attn {
namespace {

using attn_test::bundles_folder;

class CGenerators : public testing::Test {
 protected:
  void SetUp() override {
    ATTN_NEEDS_BUNDLES();
    ASSERT_EQ(attn_bundle_open((bundles_folder() / "speaker.attn").c_str(), &bundle), ATTN_OK) << attn_last_error();
    attn_open_options open = ATTN_OPEN_OPTIONS_INIT;
    open.device = "cpu";
    ASSERT_EQ(attn_generator_open(bundle, &open, &generator), ATTN_OK) << attn_last_error();
    options.max_length = 4;
  }
  void TearDown() override {
    attn_result_close(result);
    attn_generator_close(generator);
    attn_bundle_close(bundle);
  }

  attn_tensor source() { return {"source", ATTN_INT64, tokens, sizeof tokens, 2, {1, 3}}; }
  attn_tensor source_mask() { return {"source_mask", ATTN_BOOL, mask, sizeof mask, 2, {1, 3}}; }
  int generate(attn_tensor first, attn_tensor second) {
    const attn_tensor inputs[] = {first, second};
    return attn_generator_generate(generator, inputs, 2, &options, &result);
  }

  attn_bundle* bundle = nullptr;
  attn_generator* generator = nullptr;
  attn_result* result = nullptr;
  attn_generate_options options = ATTN_GENERATE_OPTIONS_INIT;
  int64_t tokens[3] = {3, 4, 5};
  unsigned char mask[3] = {1, 1, 1};
};

TEST_F(CGenerators, RefuseMemoryThatIsNotThere) {
  EXPECT_EQ(generate(source(), source_mask()), ATTN_OK) << attn_last_error();
  attn_tensor bad = source();
  bad.data = nullptr;
  EXPECT_EQ(generate(bad, source_mask()), ATTN_ERROR_INPUT);
  EXPECT_STREQ(attn_last_error(), "input \"source\": its data is NULL; expected 24 bytes for int64 [1, 3] (bundle speaker.attn)");
  bad = source_mask();
  bad.data = nullptr;
  EXPECT_EQ(generate(source(), bad), ATTN_ERROR_INPUT);
  alignas(8) unsigned char odd[32] = {};
  bad = source();
  bad.data = odd + 3;
  EXPECT_EQ(generate(bad, source_mask()), ATTN_ERROR_INPUT);
  EXPECT_NE(std::string(attn_last_error()).find("not aligned to the 8 bytes of a int64"), std::string::npos) << attn_last_error();
}

TEST_F(CGenerators, WriteTheSameWithAsManyThreadsAsCoresAreFree) {
  const auto written = [&] {
    EXPECT_EQ(generate(source(), source_mask()), ATTN_OK) << attn_last_error();
    size_t length = 0;
    const int64_t* row = attn_result_tokens(result, 0, &length);
    const std::vector<int64_t> found(row, row + length);
    attn_result_close(std::exchange(result, nullptr));
    return found;
  };
  const std::vector<int64_t> expected = written();
  EXPECT_FALSE(expected.empty());
  attn_generator_close(std::exchange(generator, nullptr));
  attn_open_options open = ATTN_OPEN_OPTIONS_INIT;
  open.device = "cpu";
  open.threads = ATTN_THREADS_AUTO;
  ASSERT_EQ(attn_generator_open(bundle, &open, &generator), ATTN_OK) << attn_last_error();
  EXPECT_EQ(std::string(attn_generator_choice(generator)).find("as cores are free") != std::string::npos, own_cores()->usable > 1);
  EXPECT_EQ(written(), expected);
}

TEST_F(CGenerators, BelongToTheProcessThatOpenedThem) {
  const std::string why = "the generator on bundle speaker.attn was opened before a fork; open it after the fork, in the process that uses it";
  EXPECT_TRUE(in_a_child([&] { return generate(source(), source_mask()) == ATTN_ERROR_USAGE && attn_last_error() == why; }));
  EXPECT_TRUE(in_a_child(
      [&] {
        attn_generator_close(generator);
        return true;
      },
      false));
  EXPECT_EQ(generate(source(), source_mask()), ATTN_OK) << attn_last_error();
}

TEST_F(CGenerators, RefuseAMaskOfOtherBytes) {
  mask[1] = 0xFF;
  EXPECT_EQ(generate(source(), source_mask()), ATTN_ERROR_INPUT);
  EXPECT_STREQ(attn_last_error(), "input \"source_mask\": is bool and holds a byte 255; expected 0 and 1 alone (bundle speaker.attn).");
}

TEST_F(CGenerators, RefuseStopTokensThatAreNotThere) {
  options.stop_count = 3;
  EXPECT_EQ(generate(source(), source_mask()), ATTN_ERROR_USAGE);
  EXPECT_STREQ(attn_last_error(), "stop is NULL, and stop_count 3; expected 0 for the model's own");
  options.stop = tokens;
  options.stop_count = static_cast<size_t>(-1);
  EXPECT_EQ(generate(source(), source_mask()), ATTN_ERROR_USAGE) << attn_last_error();
}

TEST_F(CGenerators, RefuseChoicesThatAreNotThere) {
  options.choice_count = 1;
  EXPECT_EQ(generate(source(), source_mask()), ATTN_ERROR_USAGE);
  EXPECT_STREQ(attn_last_error(), "choices is NULL, and choice_count 1");
  const attn_choice half = {"language", nullptr}, whole = {"language", "de"};
  options.choices = &half;
  EXPECT_EQ(generate(source(), source_mask()), ATTN_ERROR_USAGE);
  EXPECT_STREQ(attn_last_error(), "choices: a name or a value is NULL");
  options.choices = &whole;
  EXPECT_EQ(generate(source(), source_mask()), ATTN_ERROR_USAGE);
  EXPECT_STREQ(attn_last_error(), "begin: got \"language\", no choice of this model; it has none (bundle speaker.attn)");
  options.choice_count = static_cast<size_t>(-1);
  EXPECT_EQ(generate(source(), source_mask()), ATTN_ERROR_USAGE);
}

TEST_F(CGenerators, TakeTheOptionsOfAnOlderProgram) {
  options.min_length = options.no_repeat_ngram = -7;  // what lies behind its struct
  options.size = offsetof(attn_generate_options, min_length);
  EXPECT_EQ(generate(source(), source_mask()), ATTN_OK) << attn_last_error();
  options.size = sizeof options;
  EXPECT_EQ(generate(source(), source_mask()), ATTN_ERROR_USAGE);
}

TEST_F(CGenerators, RefuseOptionsOfANewerProgram) {
  struct {
    attn_generate_options known;
    void* later;
  } newer = {ATTN_GENERATE_OPTIONS_INIT, nullptr};
  newer.known.size = sizeof newer;
  const attn_tensor inputs[] = {source(), source_mask()};
  EXPECT_EQ(attn_generator_generate(generator, inputs, 2, &newer.known, &result), ATTN_OK) << attn_last_error();
  attn_result_close(result);
  result = nullptr;
  newer.later = &newer;
  EXPECT_EQ(attn_generator_generate(generator, inputs, 2, &newer.known, &result), ATTN_ERROR_USAGE);
  EXPECT_NE(std::string(attn_last_error()).find("does not know"), std::string::npos);
}

TEST_F(CGenerators, CannotBeCalledByWhatTheyCall) {
  struct Inner {
    attn_generator* generator;
    attn_tensor inputs[2];
    int status = ATTN_OK;
    std::string message{};
  } inner{generator, {source(), source_mask()}};
  options.on_token = [](size_t, int64_t, void* user) {
    Inner& tried = *static_cast<Inner*>(user);
    attn_result* none = nullptr;
    tried.status = attn_generator_generate(tried.generator, tried.inputs, 2, nullptr, &none);
    tried.message = attn_last_error();
    return 0;
  };
  options.user = &inner;
  EXPECT_EQ(generate(source(), source_mask()), ATTN_OK) << attn_last_error();
  EXPECT_EQ(inner.status, ATTN_ERROR_USAGE);
  EXPECT_EQ(inner.message, "the generator on bundle speaker.attn is in use: on_token can't call it; open another");
  EXPECT_STREQ(attn_last_error(), "");  // of the outer call
  options.on_token = nullptr;
  attn_result_close(result);
  EXPECT_EQ(generate(source(), source_mask()), ATTN_OK) << attn_last_error();  // and it is free again
}

struct Told {
  std::string texts[2];
  size_t pieces = 0, most = 1000;
};

int hear(size_t row, const char* piece, size_t bytes, void* user) {
  Told& told = *static_cast<Told*>(user);
  EXPECT_GT(bytes, 0U);
  EXPECT_EQ(piece[bytes], 0);
  told.texts[row].append(piece, bytes);
  return ++told.pieces >= told.most;
}

TEST_F(CGenerators, TellTextInPiecesThatAddUp) {
  Told told;
  options.on_text = hear;
  options.user = &told;
  const char* texts[] = {"a cat", "the dog ran far"};
  ASSERT_EQ(attn_generator_generate_text(generator, texts, 2, &options, &result), ATTN_OK) << attn_last_error();
  for (size_t row = 0; row < 2; ++row) EXPECT_EQ(told.texts[row], attn_result_text(result, row));
  EXPECT_GT(told.pieces, 2U);
  attn_result_close(result);
  told = Told();
  told.most = 2;
  EXPECT_EQ(generate(source(), source_mask()), ATTN_OK) << attn_last_error();  // of tokens too
  EXPECT_EQ(told.texts[0], attn_result_text(result, 0));
  EXPECT_EQ(told.pieces, 2U);  // it said that this is enough
  options.beams = 2;
  EXPECT_EQ(generate(source(), source_mask()), ATTN_ERROR_USAGE);
}

TEST_F(CGenerators, TellOfACallbackThatThrows) {
  options.on_token = [](size_t, int64_t, void*) -> int { throw std::runtime_error("no room\nleft"); };
  EXPECT_EQ(generate(source(), source_mask()), ATTN_ERROR_USAGE);
  EXPECT_EQ(std::string(attn_last_error()).find("the callback on_token threw: no room"), 0U) << attn_last_error();
  EXPECT_EQ(std::string(attn_last_error()).find('\n'), std::string::npos);
  options.on_token = nullptr;
  options.on_text = [](size_t, const char*, size_t, void*) -> int { throw 7; };
  EXPECT_EQ(generate(source(), source_mask()), ATTN_ERROR_USAGE);
  EXPECT_EQ(std::string(attn_last_error()).find("the callback on_text threw: something that is no std::exception"), 0U) << attn_last_error();
  options.on_text = nullptr;
  EXPECT_EQ(generate(source(), source_mask()), ATTN_OK) << attn_last_error();  // and it is free again
  attn_open_options open = ATTN_OPEN_OPTIONS_INIT;
  open.device = "cpu";
  const auto check = [](const attn_check*, void*) { throw std::runtime_error("enough"); };
  attn_bundle* gemm = nullptr;
  ASSERT_EQ(attn_bundle_open((bundles_folder() / "gemm.attn").c_str(), &gemm), ATTN_OK) << attn_last_error();
  EXPECT_EQ(attn_bundle_verify(gemm, &open, check, nullptr), ATTN_ERROR_USAGE);
  EXPECT_EQ(std::string(attn_last_error()).find("the callback on_check threw: enough"), 0U) << attn_last_error();
  attn_bundle_close(gemm);
}

TEST_F(CGenerators, ScoreNoTextThatWasNotBegun) {
  const std::vector<const char*> texts(40, "a cat");
  options.scores = 1;
  options.on_token = [](size_t, int64_t, void*) { return 1; };
  ASSERT_EQ(attn_generator_generate_text(generator, texts.data(), texts.size(), &options, &result), ATTN_OK) << attn_last_error();
  ASSERT_EQ(attn_result_rows(result), texts.size());
  EXPECT_FALSE(std::isnan(attn_result_score(result, 0)));
  EXPECT_TRUE(std::isnan(attn_result_score(result, texts.size() - 1)));
}

}  // namespace
}  // namespace attn
