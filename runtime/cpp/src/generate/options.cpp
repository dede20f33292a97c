#include "generate/options.h"

#include <cmath>

#include "engine/struct_size.h"
#include "generate/callbacks.h"
#include "util/error.h"

namespace attn {
namespace {

constexpr int64_t most_tokens = 2147483647, most_beams = 4096;  // as in manifest.schema.json
constexpr size_t most_choices = 16;                               // as there
constexpr uint64_t seed_end = uint64_t{1} << 63;

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

void expect(bool good, const std::string& problem) {
  if (!good) throw usage_error(problem);
}

}  // namespace

GenerateOptions GenerateOptions::of(const attn_generate_options* given) {
  attn_generate_options all = ATTN_GENERATE_OPTIONS_INIT;
  if (given) {
    all = whole_options(*given, all, sizeof(size_t), "attn_generate_options",
                        "attn_generate_options: size is " + std::to_string(given->size) + "; set it with ATTN_GENERATE_OPTIONS_INIT");
  }
  GenerateOptions made;
  expect(all.max_length >= -1 && all.max_length <= most_tokens,
         "max_length: got " + std::to_string(all.max_length) + ", expected a whole number of tokens, 0.." + std::to_string(most_tokens) +
             ", or -1 for the model's own");
  if (all.max_length >= 0) made.max_length = all.max_length;
  if (all.beams != -1) made.beams = all.beams;
  if (all.length_penalty != -1) made.length_penalty = all.length_penalty;
  if (all.early_stop != -1) made.early_stop = all.early_stop != 0;
  made.scores = all.scores != 0;
  if (all.min_length != -1) made.min_length = all.min_length;
  if (all.repetition_penalty != 0) made.repetition_penalty = all.repetition_penalty;
  if (all.no_repeat_ngram != -1) made.no_repeat_ngram = all.no_repeat_ngram;
  expect(all.choices || !all.choice_count, "choices is NULL, and choice_count " + std::to_string(all.choice_count));
  expect(all.choice_count <= most_choices,
         "choice_count: got " + std::to_string(all.choice_count) + ", expected up to " + std::to_string(most_choices));
  for (size_t i = 0; i < all.choice_count; ++i) {
    expect(all.choices[i].name && all.choices[i].value, "choices: a name or a value is NULL");
    made.begin.emplace_back(all.choices[i].name, all.choices[i].value);
  }
  made.lookup = all.lookup;
  made.likeliest = all.sample == 0;
  made.seed = all.seed;
  if (all.sample > 0 || all.sample < -1) {
    Sample sample;
    sample.temperature = all.temperature;
    if (all.top_k != 0) sample.top_k = all.top_k;
    if (all.top_p != 1) sample.top_p = all.top_p;
    sample.seed = all.seed;
    made.sample = sample;
  }
  expect(all.stop || !all.stop_count,
         "stop is NULL, and stop_count " + std::to_string(all.stop_count) + "; expected 0 for the model's own");
  // A number below 0 becomes one that no memory holds.
  expect(all.stop_count <= static_cast<size_t>(most_tokens),
         "stop_count: got " + std::to_string(all.stop_count) + ", expected up to " + std::to_string(most_tokens));
  if (all.stop) made.stop = std::vector<int64_t>(all.stop, all.stop + all.stop_count);
  if (all.on_token) {
    made.on_token = [call = all.on_token, user = all.user](size_t row, int64_t token) {
      return called_back("on_token", [&] { return call(row, token, user) == 0; });
    };
  }
  if (all.on_text) {
    made.on_text = [call = all.on_text, user = all.user](size_t row, const std::string& piece) {
      return called_back("on_text", [&] { return call(row, piece.c_str(), piece.size(), user) == 0; });
    };
  }
  return made;
}

GenerateOptions GenerateOptions::of_rows_from(size_t begin) const {
  GenerateOptions part = *this;
  if (on_token) part.on_token = [this, begin](size_t row, int64_t token) { return on_token(begin + row, token); };
  if (on_text) part.on_text = [this, begin](size_t row, const std::string& piece) { return on_text(begin + row, piece); };
  return part;
}

void GenerateOptions::check() const {
  const std::string tokens = ", expected a whole number of tokens, 0.." + std::to_string(most_tokens);
  const auto check_count = [&](const char* name, const std::optional<int64_t>& count) {
    expect(!count || (*count >= 0 && *count <= most_tokens), std::string(name) + ": got " + std::to_string(count.value_or(0)) + tokens);
  };
  check_count("max_length", max_length);
  check_count("min_length", min_length);
  check_count("no_repeat_ngram", no_repeat_ngram);
  check_count("lookup", lookup);
  expect(!beams || (*beams >= 1 && *beams <= most_beams), "beams: got " + std::to_string(beams.value_or(0)) + ", expected 1..4096");
  expect(!length_penalty || (*length_penalty >= 0 && *length_penalty <= 100),
         "length_penalty: got " + number(length_penalty.value_or(0)) + ", expected a number of 0..100");
  expect(!repetition_penalty || (*repetition_penalty > 0 && *repetition_penalty <= 1000),
         "repetition_penalty: got " + number(repetition_penalty.value_or(0)) + ", expected a number above 0 and up to 1000; 1 for no penalty");
  expect(seed < seed_end, "seed: got " + std::to_string(seed) + ", expected a whole number below 2^63");
  if (sample) {
    expect(beams.value_or(1) == 1, "got " + std::to_string(beams.value_or(1)) +
                                       " beams and sampling; expected one of the two: draw with one beam, or search with beams");
    expect(sample->temperature > 0 && std::isfinite(sample->temperature),
           "temperature: got " + number(sample->temperature) + ", expected a number above 0; leave sampling out for the likeliest token");
    expect(!sample->top_k || *sample->top_k >= 1, "top_k: got " + std::to_string(sample->top_k.value_or(0)) + ", expected 1 or more");
    expect(!sample->top_p || (*sample->top_p > 0 && *sample->top_p <= 1),
           "top_p: got " + number(sample->top_p.value_or(0)) + ", expected a number above 0 and up to 1");
    expect(sample->seed < seed_end, "seed: got " + std::to_string(sample->seed) + ", expected a whole number below 2^63");
  }
  for (const int64_t token : stop.value_or(std::vector<int64_t>())) {
    expect(token >= 0, "stop: got " + std::to_string(token) + ", expected tokens, whole numbers of 0 or more");
  }
}

}  // namespace attn
