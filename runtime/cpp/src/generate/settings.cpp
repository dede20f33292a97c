#include "generate/settings.h"

#include <algorithm>
#include <cmath>

#include "util/error.h"

namespace attn {

Settings Settings::of(const GenerateOptions& options, const GenerationRules& rules, const std::vector<Token>& stop, const std::string& where) {
  options.check();
  Settings made;
  made.most_new = options.max_length ? options.max_length : rules.max_new;
  if (!options.max_length) made.most_of_row = rules.max_length;
  made.least_new = options.min_length.value_or(rules.min_new);
  if (!options.min_length) made.least_of_row = rules.min_length;
  made.beams = options.beams.value_or(options.sample ? 1 : rules.beams);
  made.length_penalty = options.length_penalty.value_or(rules.length_penalty);
  made.early_stop = options.early_stop.value_or(rules.early_stop);
  made.sample = options.sample;
  if (!options.sample && !options.likeliest && options.beams.value_or(1) == 1 && rules.drawn) {
    made.sample = Sample{rules.drawn->temperature.value_or(1), rules.drawn->top_k, rules.drawn->top_p, options.seed};
  }
  made.scores = options.scores;
  made.stop = options.stop.value_or(stop);
  made.begin = rules.begin_of(options.begin, where);
  made.counted = made.begin.size() - std::min(made.begin.size(), rules.uncounted);
  made.repetition_penalty = options.repetition_penalty.value_or(rules.repetition_penalty);
  made.no_repeat_ngram = options.no_repeat_ngram.value_or(rules.no_repeat_ngram);
  made.suppress = rules.suppress;
  made.suppress_first = rules.suppress_first;
  made.forced_end = rules.forced_end;
  made.encoder_no_repeat_ngram = rules.encoder_no_repeat_ngram;
  made.lookup = options.lookup;
  if ((options.on_token || options.on_text) && made.beams > 1) {
    throw usage_error(std::string(options.on_token ? "on_token" : "on_text") +
                      ": the tokens of a beam search are known when it is over; take one beam to follow them");
  }
  return made;
}

void Settings::check(int64_t vocabulary, const std::string& where) const {
  if (beams > vocabulary) {
    throw usage_error("beams: got " + std::to_string(beams) + ", but the model has " + std::to_string(vocabulary) +
                      " tokens to choose from; take " + std::to_string(vocabulary) + " or fewer (" + where + ")");
  }
  for (const Token token : stop) {
    if (token >= vocabulary) {
      throw usage_error("stop: got token " + std::to_string(token) + ", the model has 0.." + std::to_string(vocabulary - 1) + " (" + where + ")");
    }
  }
}

void Settings::check_lookup(int64_t most, const std::string& where) const {
  if (!lookup) return;
  if (beams > 1 || sample) {
    throw usage_error("lookup: " + (beams > 1 ? std::to_string(beams) + " beams are followed" : "tokens are drawn") +
                      ", and guesses are checked against the likeliest token; take one beam and no sampling, or leave lookup out (" + where +
                      ")");
  }
  if (!most) {
    throw usage_error("lookup: the bundle has no graph that reads several tokens; export it with --with-extend, or leave lookup out (" +
                      where + ")");
  }
  if (lookup > most) {
    throw usage_error("lookup: got " + std::to_string(lookup) + "; the graph takes up to " + std::to_string(most) + " guesses at once (" +
                      where + ")");
  }
}

size_t Settings::limit(size_t length, int64_t room, const std::string& where) const {
  if (most_of_row && *most_of_row <= static_cast<int64_t>(length) && room > 0) {
    throw input_error("got a prompt of " + std::to_string(length) + " tokens; rows of this model have up to " + std::to_string(*most_of_row) +
                      " by default, answer included: give max_length, which counts the answer alone (" + where + ")");
  }
  int64_t most = room;
  if (most_new) most = std::min(most, *most_new);
  if (most_of_row) most = std::min(most, *most_of_row - static_cast<int64_t>(length));
  return static_cast<size_t>(std::max<int64_t>(0, most));
}

size_t Settings::fewest(size_t length) const {
  return static_cast<size_t>(std::max(least_new, least_of_row - static_cast<int64_t>(length)));
}

double Settings::score(double sum, size_t length) const {
  return sum / std::pow(static_cast<double>(std::max<size_t>(1, length + counted)), length_penalty);
}

}  // namespace attn
