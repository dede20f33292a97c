// Rules on the scores of the next token, by hand. tests/cpp/generate holds them against Python's, which are held against transformers.
#include "generate/rules.h"

#include <gtest/gtest.h>

#include <limits>

#include "support/scratch.h"
#include "util/error.h"

namespace attn {
namespace {

constexpr double never = -std::numeric_limits<double>::infinity();
using Rows = std::vector<std::vector<Token>>;

// Of 5 tokens, of which 1 ends; one row begins with 2 3 2 and has at most 4 tokens more.
ScoreRules ruled(const Settings& settings, const Rows& sources = {}) {
  return ScoreRules(settings, {0, 1, 0, 0, 0}, {{2, 3, 2}}, {4}, sources, "bundle a.attn");
}

std::vector<double> left(const Settings& settings, const std::vector<Token>& answer, const Rows& sources = {}) {
  std::vector<double> scores = {1, -1, 2, -2, 4};
  ruled(settings, sources).apply(scores.data(), 0, answer);
  return scores;
}

TEST(Rules, AreNoneByDefault) {
  EXPECT_FALSE(ruled({}).any());
  EXPECT_EQ(left({}, {}), (std::vector<double>{1, -1, 2, -2, 4}));
}

TEST(Rules, PenalizeWhatIsThereOnce) {
  Settings settings;
  settings.repetition_penalty = 2;
  EXPECT_TRUE(ruled(settings).any());
  EXPECT_EQ(left(settings, {4, 4}), (std::vector<double>{1, -1, 1, -4, 2}));
  EXPECT_EQ(ruled(settings).log_probability(-3, 0, {4}, 4), -6);
  EXPECT_EQ(ruled(settings).log_probability(-3, 0, {4}, 3), -6);
  EXPECT_EQ(ruled(settings).log_probability(-3, 0, {4}, 1), -3);
}

TEST(Rules, LetNoSequenceComeTwice) {
  Settings settings;
  settings.no_repeat_ngram = 2;
  EXPECT_EQ(left(settings, {}), (std::vector<double>{1, -1, 2, never, 4}));      // 2 3 is there
  EXPECT_EQ(left(settings, {4}), (std::vector<double>{1, -1, 2, -2, 4}));
  settings.no_repeat_ngram = 1;
  EXPECT_EQ(left(settings, {4}), (std::vector<double>{1, -1, never, never, never}));
  settings.no_repeat_ngram = 9;
  EXPECT_EQ(left(settings, {4}), (std::vector<double>{1, -1, 2, -2, 4}));
}

TEST(Rules, LetNothingOfTheSourceComeAgain) {
  Settings settings;
  settings.encoder_no_repeat_ngram = 2;
  EXPECT_FALSE(ruled(settings).any());
  EXPECT_TRUE(ruled(settings, {{0, 2, 4}}).any());
  EXPECT_EQ(left(settings, {}, {{0, 2, 4}}), (std::vector<double>{1, -1, 2, -2, never}));
}

TEST(Rules, KeepAnAnswerGoing) {
  Settings settings;
  settings.least_new = 1;
  settings.least_of_row = 5;
  EXPECT_EQ(left(settings, {4}), (std::vector<double>{1, never, 2, -2, 4}));
  EXPECT_EQ(left(settings, {4, 4}), (std::vector<double>{1, -1, 2, -2, 4}));
}

TEST(Rules, SuppressAndForce) {
  Settings settings;
  settings.suppress = {0};
  settings.suppress_first = {4};
  settings.forced_end = {1};
  EXPECT_EQ(left(settings, {}), (std::vector<double>{never, -1, 2, -2, never}));
  EXPECT_EQ(left(settings, {2}), (std::vector<double>{never, -1, 2, -2, 4}));
  EXPECT_EQ(left(settings, {2, 2, 2}), (std::vector<double>{never, 0, never, never, never}));
  EXPECT_EQ(ruled(settings).log_probability(-3, 0, {2, 2, 2}, 1), 0);
  EXPECT_EQ(ruled(settings).log_probability(-3, 0, {2, 2, 2}, 2), never);
  EXPECT_EQ(raised([&] { ruled(settings).refuse(0, 7); }, ATTN_ERROR_USAGE),
            "the rules leave row 0 no token to choose at step 7 (no_repeat_ngram 0, 1 suppressed, 0 tokens before a stop token); take a rule "
            "off, or a lower max_length (bundle a.attn)");
}

TEST(Settings, FillInTheBundlesDefaults) {
  const Json asset = parse_json(R"({"begin": [2, 5], "begin_uncounted": 1, "stop": [1], "defaults": {"max_length": 9, "min_new": 2,
    "beams": 3, "length_penalty": 2, "early_stop": true, "sample": {"top_k": 4}}})", "asset");
  const GenerationRules rules = GenerationRules::of(asset);
  const Settings made = Settings::of({}, rules, {1}, "bundle a.attn");
  EXPECT_EQ(made.beams, 3);
  EXPECT_TRUE(made.early_stop);
  EXPECT_EQ(made.limit(2, 100, "bundle a.attn"), 7U);
  EXPECT_EQ(raised([&] { made.limit(9, 100, "bundle a.attn"); }, ATTN_ERROR_INPUT),
            "got a prompt of 9 tokens; rows of this model have up to 9 by default, answer included: give max_length, which counts the answer "
            "alone (bundle a.attn)");
  EXPECT_EQ(made.limit(9, 0, "bundle a.attn"), 0U);
  EXPECT_EQ(made.fewest(2), 2U);
  EXPECT_DOUBLE_EQ(made.score(-9, 2), -1);  // of three tokens, one of them begin's
  EXPECT_EQ(made.sample->top_k, 4);
  GenerateOptions options;
  options.beams = 2;
  options.max_length = 30;
  options.length_penalty = 0;
  const Settings asked = Settings::of(options, rules, {1}, "bundle a.attn");
  EXPECT_FALSE(asked.sample);
  EXPECT_EQ(asked.limit(2, 100, "bundle a.attn"), 30U);
  EXPECT_DOUBLE_EQ(asked.score(-9, 2), -9);
}

}  // namespace
}  // namespace attn
