// Choosing tokens: the largest of many, what is drawn, greedy and beam search over a model that is a table.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "generate/beam.h"
#include "generate/greedy.h"
#include "generate/sampling.h"
#include "generate/topk.h"
#include "support/scratch.h"
#include "util/error.h"
#include "util/random.h"

namespace attn {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();
constexpr int64_t pad = 0;

std::vector<size_t> largest(const std::vector<double>& values, size_t count) {
  std::vector<size_t> places;
  find_largest(values.data(), values.size(), count, places);
  return places;
}

TEST(Largest, ComeByValueThenByPlace) {
  EXPECT_EQ(largest({1, 3, 2, 3, 1}, 3), (std::vector<size_t>{1, 3, 2}));
  EXPECT_EQ(largest({1, 1, 1, 1}, 2), (std::vector<size_t>{0, 1}));
  EXPECT_EQ(largest({-infinity, 5, -infinity}, 9), (std::vector<size_t>{1, 0, 2}));
  EXPECT_TRUE(largest({1, 2}, 0).empty());
}

TEST(Largest, AreThoseOfASort) {
  RandomStream stream(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<double> values(1 + static_cast<size_t>(stream.next() * 40));
    for (double& value : values) value = std::floor(stream.next() * 8);  // many equal ones
    std::vector<size_t> places(values.size());
    std::iota(places.begin(), places.end(), size_t{0});
    std::stable_sort(places.begin(), places.end(), [&](size_t a, size_t b) { return values[a] > values[b]; });
    const auto count = static_cast<size_t>(stream.next() * 45);
    places.resize(std::min(places.size(), count));
    EXPECT_EQ(largest(values, count), places);
  }
}

template <typename T>
void expect_sums_of_a_sort(const std::vector<T>& logits, size_t beams, const std::vector<double>& totals, const std::vector<double>& sums, size_t count) {
  const size_t vocabulary = logits.size() / beams;
  std::vector<double> all(logits.size());
  LargestSums found(count, beams);
  for (size_t beam = 0; beam < beams; ++beam) {
    const T* row = logits.data() + beam * vocabulary;
    for (size_t token = 0; token < vocabulary; ++token) all[token * beams + beam] = (static_cast<double>(row[token]) - totals[beam]) + sums[beam];
    found.add(row, vocabulary, totals[beam], sums[beam], beam);
  }
  std::vector<size_t> places(all.size());
  std::iota(places.begin(), places.end(), size_t{0});
  std::stable_sort(places.begin(), places.end(), [&](size_t a, size_t b) { return all[a] > all[b]; });
  const auto& best = found.sorted();
  ASSERT_EQ(best.size(), std::min(count, all.size()));
  for (size_t rank = 0; rank < best.size(); ++rank) {
    ASSERT_EQ(best[rank].place, places[rank]) << "rank " << rank;
    ASSERT_EQ(best[rank].value, all[places[rank]]);
  }
}

TEST(LargestSums, AreThoseOfASortBitForBit) {
  RandomStream stream(11);
  constexpr auto most = std::numeric_limits<float>::max(), least = std::numeric_limits<float>::denorm_min();
  const std::vector<float> extremes = {most, -most, 1e30F, least, 0.0F, -0.0F, 1.0F, -std::numeric_limits<float>::infinity()};
  for (int round = 0; round < 600; ++round) {
    const size_t beams = 1 + static_cast<size_t>(stream.next() * 5), vocabulary = 1 + static_cast<size_t>(stream.next() * (round % 7 ? 60 : 900));
    std::vector<float> logits(beams * vocabulary);
    std::vector<double> totals(beams), sums(beams);
    for (float& each : logits) {
      const double drawn = stream.next();
      const double kinds[] = {drawn * 20 - 10, std::floor(drawn * 5), extremes[static_cast<size_t>(drawn * 8)], 1 + std::floor(drawn * 40) * 1.1920929e-7, 2.5};
      each = static_cast<float>(kinds[round % 5]);
    }
    for (double& each : totals) each = std::floor(stream.next() * 8) / 3;
    for (double& each : sums) each = -std::floor(stream.next() * 8) / 3;
    if (round % 3 == 1) std::fill(sums.begin() + 1, sums.end(), -1.0e9);  // beams that are not there yet: one number for many logits
    if (round % 3 == 2) sums.back() = -infinity;                           // one that may not go on
    const auto count = 1 + static_cast<size_t>(stream.next() * 12);
    expect_sums_of_a_sort(logits, beams, totals, sums, count);
    expect_sums_of_a_sort(std::vector<double>(logits.begin(), logits.end()), beams, totals, sums, count);
  }
}

Logits one_row(const std::vector<float>& values) { return {values.data(), ATTN_FLOAT32, 1, values.size()}; }

TEST(Likeliest, IsTheFirstOfEqualOnes) {
  for (const size_t size : {3U, 16U, 17U, 100U}) {
    std::vector<float> values(size, -1);
    values[size / 2] = values[size - 1] = 4;
    EXPECT_EQ(likeliest(one_row(values), 0), size / 2);
  }
}

TEST(Likeliest, IsANanWhereThereIsOne) {
  for (const size_t at : {0U, 5U, 30U, 35U}) {
    std::vector<float> values(36, 2);
    values[at] = not_a_number;
    EXPECT_EQ(likeliest(one_row(values), 0), at);
  }
}

TEST(LogSumExp, TakesAnySize) {
  EXPECT_NEAR(log_sum_exp(one_row({1000, 1000}), 0), 1000 + std::log(2.0), 1e-9);
  EXPECT_NEAR(log_sum_exp(one_row({-1000, -1000, -std::numeric_limits<float>::infinity()}), 0), -1000 + std::log(2.0), 1e-9);
}

std::vector<float> logs(const std::vector<double>& probabilities) {
  std::vector<float> values;
  for (const double each : probabilities) values.push_back(static_cast<float>(std::log(each)));
  return values;
}

// The probability of each token that is left.
std::map<size_t, double> left(const Sample& sample) {
  const std::vector<float> values = logs({0.4, 0.05, 0.25, 0.05, 0.15, 0.1});
  const Distribution found = distribution(one_row(values), 0, sample);
  std::map<size_t, double> by_token;
  for (size_t i = 0; i < found.tokens.size(); ++i) by_token[found.tokens[i]] = found.weights[i];
  return by_token;
}

void expect_left(const Sample& sample, const std::map<size_t, double>& wanted) {
  const auto found = left(sample);
  double sum = 0;
  for (const auto& [token, weight] : wanted) sum += weight;
  ASSERT_EQ(found.size(), wanted.size());
  for (const auto& [token, weight] : wanted) EXPECT_NEAR(found.at(token), weight / sum, 1e-6) << "token " << token;
}

TEST(Sampling, CutsTheDistribution) {
  const std::map<size_t, double> all = {{0, 0.4}, {1, 0.05}, {2, 0.25}, {3, 0.05}, {4, 0.15}, {5, 0.1}};
  expect_left({}, all);
  expect_left({1, 99, {}, 0}, all);
  expect_left({1, {}, 1.0, 0}, all);
  expect_left({2, 3, {}, 0}, {{0, std::sqrt(0.4)}, {2, std::sqrt(0.25)}, {4, std::sqrt(0.15)}});
  expect_left({1, 5, {}, 0}, {{0, 0.4}, {1, 0.05}, {2, 0.25}, {4, 0.15}, {5, 0.1}});  // 1 and 3 are as likely: the lower one stays
  expect_left({1, {}, 0.64, 0}, {{0, 0.4}, {2, 0.25}});
  expect_left({1, {}, 0.66, 0}, {{0, 0.4}, {2, 0.25}, {4, 0.15}});
  expect_left({1, {}, 0.1, 0}, {{0, 1}});
  expect_left({1, 3, 0.8, 0}, {{0, 0.4}, {2, 0.25}});  // of the three, 0.4 + 0.25 of 0.8 is 0.8125
  expect_left({1e-300, {}, {}, 0}, {{0, 1}, {1, 0}, {2, 0}, {3, 0}, {4, 0}, {5, 0}});
}

TEST(Sampling, DrawsByTheInverseOfTheDistribution) {
  const std::vector<float> values = logs({0.5, 0.25, 0.25});
  const auto drawn = [&](double number) { return draw(one_row(values), 0, {}, number); };
  EXPECT_EQ(drawn(0), 0U);
  EXPECT_EQ(drawn(0.49), 0U);
  EXPECT_EQ(drawn(0.51), 1U);
  EXPECT_EQ(drawn(0.76), 2U);
  EXPECT_EQ(drawn(0.9999999), 2U);
}

TEST(Sampling, CutsAndDrawsOnTheBorderAsNumpyDoes) {
  const std::vector<float> even(4, 1.5F);  // weights of exactly a quarter
  EXPECT_EQ(distribution(one_row(even), 0, {1, {}, 0.5, 0}).tokens, (std::vector<size_t>{0, 1}));
  EXPECT_EQ(draw(one_row(even), 0, {}, 0.25), 1U);
}

// A model whose next logits hang on the last token alone: a row of the table for each token.
class Table : public Steps {
 public:
  Table(std::vector<std::vector<float>> table, size_t rows) : table_(std::move(table)), rows_(rows) {}

  size_t rows() const override { return rows_; }
  Logits prompt(const std::vector<size_t>& last) {
    history.assign(rows_, {});
    return give({last.begin(), last.end()});
  }
  Logits advance(const std::vector<int64_t>& tokens, const std::vector<uint8_t>&) override {
    for (size_t row = 0; row < rows_; ++row) history[row].push_back(tokens[row]);
    return give(tokens);
  }
  void reorder(const std::vector<size_t>& parents, const std::vector<uint8_t>&) override {
    const auto before = history;
    for (size_t row = 0; row < rows_; ++row) history[row] = before[parents[row]];
  }

  std::vector<std::vector<int64_t>> history;  // what each row was fed

 private:
  Logits give(const std::vector<int64_t>& tokens) {
    values_.clear();
    for (const int64_t token : tokens) values_.insert(values_.end(), table_[static_cast<size_t>(token)].begin(), table_[static_cast<size_t>(token)].end());
    return {values_.data(), ATTN_FLOAT32, tokens.size(), table_[0].size()};
  }

  std::vector<std::vector<float>> table_;
  size_t rows_;
  std::vector<float> values_;
};

// 1 ends. From 2 the likeliest way is 3, 3 to 1; the best whole answer begins with 4.
const std::vector<std::vector<double>> chances = {{0.2, 0.2, 0.2, 0.2, 0.2},
                                                  {0.2, 0.2, 0.2, 0.2, 0.2},
                                                  {0.01, 0.01, 0.01, 0.57, 0.40},
                                                  {0.15, 0.40, 0.15, 0.15, 0.15},
                                                  {0.01, 0.96, 0.01, 0.01, 0.01}};

std::vector<std::vector<float>> table() {
  std::vector<std::vector<float>> rows;
  for (const auto& row : chances) rows.push_back(logs(row));
  return rows;
}

std::vector<uint8_t> stops() { return {0, 1, 0, 0, 0}; }

TEST(Greedy, TakesTheLikeliestUntilItStops) {
  Table model(table(), 2);
  Answers answers({9, 9}, stops(), pad);
  generate_each(model, model.prompt({2, 4}), answers, likeliest, "bundle a.attn", {}, true);
  EXPECT_EQ(answers.tokens, (std::vector<std::vector<int64_t>>{{3, 1}, {1}}));
  EXPECT_EQ(answers.stopped, (std::vector<Stopped>{Stopped::stop, Stopped::stop}));
  EXPECT_NEAR(answers.sums[0], std::log(0.57) + std::log(0.40), 1e-6);
  EXPECT_NEAR(answers.sums[1], std::log(0.96), 1e-6);
  EXPECT_EQ(answers.steps(), 2U);
  EXPECT_EQ(model.history[1], (std::vector<int64_t>{1}));  // fed when it was chosen, and padding from then on
}

TEST(Greedy, EndsRowsAtTheirOwnLimits) {
  Table model(table(), 3);
  Answers answers({1, 0, 9}, stops(), pad);
  generate_each(model, model.prompt({2, 2, 2}), answers, likeliest, "bundle a.attn", {}, false);
  EXPECT_EQ(answers.tokens, (std::vector<std::vector<int64_t>>{{3}, {}, {3, 1}}));
  EXPECT_EQ(answers.stopped, (std::vector<Stopped>{Stopped::length, Stopped::length, Stopped::stop}));
}

TEST(Greedy, TellsTokensAndEndsWhenTold) {
  Table model(table(), 2);
  Answers answers({9, 9}, stops(), pad);
  std::vector<std::pair<size_t, int64_t>> told;
  const auto until_second = [&](size_t row, int64_t token) {
    told.emplace_back(row, token);
    return told.size() < 2;
  };
  generate_each(model, model.prompt({2, 2}), answers, likeliest, "bundle a.attn", until_second, false);
  EXPECT_EQ(told, (std::vector<std::pair<size_t, int64_t>>{{0, 3}, {1, 3}}));
  EXPECT_EQ(answers.tokens, (std::vector<std::vector<int64_t>>{{3}, {3}}));
  EXPECT_EQ(answers.stopped, (std::vector<Stopped>{Stopped::cancelled, Stopped::cancelled}));
}

TEST(Greedy, RefusesNanInRowsThatCount) {
  auto rows = table();
  rows[3][2] = not_a_number;
  const auto run = [&](std::vector<size_t> limits) {
    Table model(rows, 2);
    Answers answers(std::move(limits), stops(), pad);
    generate_each(model, model.prompt({4, 2}), answers, likeliest, "bundle a.attn", {}, false);
  };
  EXPECT_EQ(raised([&] { run({9, 9}); }, ATTN_ERROR_BACKEND),
            "bundle a.attn: the logits of row 1 are nan at step 1: the graph overflows. Take precision fp32, or verify the bundle here: "
            "attn-run verify");
  EXPECT_EQ(raised([&] { run({9, 1}); }, ATTN_ERROR_BACKEND), "");
}

Settings settings_of(const GenerateOptions& options) { return Settings::of(options, GenerationRules(), {}, "bundle a.attn"); }

Generated searched(Table& model, size_t rows, const GenerateOptions& options, const std::vector<size_t>& limits) {
  BeamSearch search(limits, stops(), pad, settings_of(options));
  search.generate(model, model.prompt(std::vector<size_t>(rows, 2)), "bundle a.attn");
  return search.result();
}

TEST(BeamSearch, FindsTheBetterAnswer) {
  GenerateOptions options;
  options.beams = 2;
  Table model(table(), 4);
  const Generated found = searched(model, 2, options, {9, 9});
  EXPECT_EQ(found.tokens, (std::vector<std::vector<int64_t>>{{4, 1}, {4, 1}}));
  EXPECT_EQ(found.stopped[0], Stopped::stop);
  EXPECT_NEAR(found.scores[0], (std::log(0.40) + std::log(0.96)) / 2, 1e-6);
}

TEST(BeamSearch, GivesWhatThereIsAtTheLimit) {
  GenerateOptions options;
  options.beams = 2;
  Table model(table(), 2);
  const Generated found = searched(model, 1, options, {1});
  EXPECT_EQ(found.tokens[0], (std::vector<int64_t>{3}));
  EXPECT_EQ(found.stopped[0], Stopped::length);
  EXPECT_EQ(searched(model, 1, options, {0}).tokens[0], std::vector<int64_t>{});
}

// Every answer of up to `limit` tokens, by its score: what a search with as many beams as there are answers must find.
void best_of_all(std::vector<int64_t>& path, double sum, size_t limit, double penalty, std::pair<double, std::vector<int64_t>>& best) {
  const auto& row = chances[static_cast<size_t>(path.empty() ? 2 : path.back())];
  for (size_t token = 0; token < row.size(); ++token) {
    path.push_back(static_cast<int64_t>(token));
    const double next = sum + std::log(row[token]);
    if (token == 1 || path.size() == limit) {
      const double score = next / std::pow(static_cast<double>(path.size()), penalty);
      if (score > best.first) best = {score, path};
    } else {
      best_of_all(path, next, limit, penalty, best);
    }
    path.pop_back();
  }
}

TEST(BeamSearch, WithBeamsForAllAnswersFindsTheBest) {
  for (const double penalty : {0.0, 0.5, 1.0, 2.0}) {
    GenerateOptions options;
    options.beams = 300;
    options.length_penalty = penalty;
    Table model(table(), 300);
    const Generated found = searched(model, 1, options, {4});
    std::pair<double, std::vector<int64_t>> best = {-infinity, {}};
    std::vector<int64_t> path;
    best_of_all(path, 0, 4, penalty, best);
    EXPECT_NEAR(found.scores[0], best.first, 1e-5) << penalty;
    EXPECT_EQ(found.tokens[0], best.second) << penalty;
  }
}

TEST(BeamSearch, FeedsEachBeamItsOwnPast) {
  GenerateOptions options;
  options.beams = 3;
  Table model(table(), 3);
  BeamSearch search({6}, {0, 0, 0, 0, 0}, pad, settings_of(options));
  search.generate(model, model.prompt({2}), "bundle a.attn");
  const Generated found = search.result();
  // The best answer but its last token is what one of the rows was fed.
  const std::vector<int64_t> fed(found.tokens[0].begin(), found.tokens[0].end() - 1);
  EXPECT_EQ(std::count(model.history.begin(), model.history.end(), fed), 1);
}

TEST(BeamSearch, GoesOnWithAsManyBeamsWhateverMayEnd) {
  // Of the four likeliest tokens behind 2 three end; the fifth is on the way to the best answer.
  const std::vector<double> even(6, 1.0 / 6);
  const std::vector<std::vector<double>> rows = {{0.002, 0.99, 0.002, 0.002, 0.002, 0.002}, even, {0.08, 0.35, 0.001, 0.3, 0.15, 0.119}, even};
  std::vector<std::vector<float>> values;
  for (const auto& row : rows) values.push_back(logs(row));
  GenerateOptions options;
  options.beams = 2;
  options.length_penalty = 2;
  Table model(values, 2);
  BeamSearch search({2}, {0, 1, 0, 0, 1, 1}, pad, settings_of(options));
  search.generate(model, model.prompt({2}), "bundle a.attn");
  EXPECT_EQ(search.result().tokens[0], (std::vector<int64_t>{0, 1}));
}

TEST(Options, AreHeldAgainstTheModel) {
  const auto refused = [](void (*change)(GenerateOptions&)) {
    GenerateOptions options;
    change(options);
    return raised([&] { settings_of(options).check(5, "bundle a.attn"); }, ATTN_ERROR_USAGE);
  };
  EXPECT_EQ(refused([](GenerateOptions&) {}), "");
  EXPECT_EQ(refused([](GenerateOptions& o) { o.max_length = int64_t{1} << 62; }),
            "max_length: got 4611686018427387904, expected a whole number of tokens, 0..2147483647");
  EXPECT_EQ(refused([](GenerateOptions& o) { o.beams = 0; }), "beams: got 0, expected 1..4096");
  EXPECT_EQ(refused([](GenerateOptions& o) { o.beams = 6; }),
            "beams: got 6, but the model has 5 tokens to choose from; take 5 or fewer (bundle a.attn)");
  EXPECT_EQ(refused([](GenerateOptions& o) { o.length_penalty = infinity; }), "length_penalty: got inf, expected a number of 0..100");
  EXPECT_EQ(refused([](GenerateOptions& o) { o.stop = {{5}}; }), "stop: got token 5, the model has 0..4 (bundle a.attn)");
  EXPECT_EQ(refused([](GenerateOptions& o) { o.stop = {{-1}}; }), "stop: got -1, expected tokens, whole numbers of 0 or more");
  EXPECT_EQ(refused([](GenerateOptions& o) { o.sample = Sample{0, {}, {}, 0}; }),
            "temperature: got 0, expected a number above 0; leave sampling out for the likeliest token");
  EXPECT_EQ(refused([](GenerateOptions& o) { o.sample = Sample{1, 0, {}, 0}; }), "top_k: got 0, expected 1 or more");
  EXPECT_EQ(refused([](GenerateOptions& o) { o.sample = Sample{1, {}, 1.5, 0}; }), "top_p: got 1.5, expected a number above 0 and up to 1");
  EXPECT_EQ(refused([](GenerateOptions& o) { o.sample = Sample{}, o.beams = 2; }),
            "got 2 beams and sampling; expected one of the two: draw with one beam, or search with beams");
  EXPECT_EQ(refused([](GenerateOptions& o) { o.on_token = [](size_t, int64_t) { return true; }, o.beams = 2; }),
            "on_token: the tokens of a beam search are known when it is over; take one beam to follow them");
}

TEST(Options, OfAnOlderProgramKeepWhatItCouldNotSay) {
  attn_generate_options given = ATTN_GENERATE_OPTIONS_INIT;
  given.beams = 3;
  given.early_stop = 1;
  given.size = offsetof(attn_generate_options, length_penalty);
  const GenerateOptions read = GenerateOptions::of(&given);
  EXPECT_EQ(read.beams, 3);
  EXPECT_FALSE(read.early_stop);
  given.size = 0;
  EXPECT_NE(raised([&] { GenerateOptions::of(&given); }, ATTN_ERROR_USAGE), "");
}

}  // namespace
}  // namespace attn
