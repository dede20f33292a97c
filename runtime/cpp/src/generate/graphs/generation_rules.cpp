#include "generate/graphs/generation_rules.h"

#include <algorithm>
#include <set>

#include "util/error.h"
#include "util/names.h"
#include "util/unicode.h"

namespace attn {
namespace {

std::vector<Token> listed_tokens(const Json& asset, const char* key) {
  const auto found = asset.find(key);
  return found == asset.end() ? std::vector<Token>() : found->get<std::vector<Token>>();
}

template <typename T>
void read_default(const Json& defaults, const char* key, T& into) {
  if (const auto found = defaults.find(key); found != defaults.end()) into = found->get<T>();
}

template <typename T>
void read_default(const Json& defaults, const char* key, std::optional<T>& into) {
  if (const auto found = defaults.find(key); found != defaults.end()) into = found->get<T>();
}

std::string in_quotes(const std::string& text) { return "\"" + printable(text, 80) + "\""; }

std::string first_names(const std::vector<std::string>& names) {
  constexpr size_t most = 40;
  std::vector<std::string> told;
  for (size_t i = 0; i < std::min(most, names.size()); ++i) told.push_back(printable(names[i], 80));
  return joined(told) + (names.size() > most ? " and " + std::to_string(names.size() - most) + " more" : "");
}

}  // namespace

GenerationRules GenerationRules::of(const Json& asset) {
  GenerationRules made;
  const Json& begin = asset.at("begin");
  if (begin.is_array()) {
    made.begin = begin.get<std::vector<Token>>();
  } else if (!begin.is_null()) {
    made.begin = {begin.get<Token>()};
  }
  if (const auto choices = asset.find("choices"); choices != asset.end()) {
    for (const auto& [name, each] : choices->items()) {
      Choice choice{each.at("place").get<size_t>(), {}};
      for (const auto& [text, token] : each.at("tokens").items()) choice.tokens.emplace_back(text, token.get<Token>());
      made.choices.emplace_back(name, std::move(choice));
    }
  }
  made.suppress = listed_tokens(asset, "suppress");
  made.suppress_first = listed_tokens(asset, "suppress_first");
  made.forced_end = listed_tokens(asset, "forced_end");
  read_default(asset, "encoder_no_repeat_ngram", made.encoder_no_repeat_ngram);
  made.uncounted = (made.begin ? made.begin->size() : 0) + made.choices.size();
  read_default(asset, "begin_uncounted", made.uncounted);
  const auto defaults = asset.find("defaults");
  if (defaults == asset.end()) return made;
  read_default(*defaults, "max_new", made.max_new);
  read_default(*defaults, "max_length", made.max_length);
  read_default(*defaults, "min_new", made.min_new);
  read_default(*defaults, "min_length", made.min_length);
  read_default(*defaults, "beams", made.beams);
  read_default(*defaults, "length_penalty", made.length_penalty);
  read_default(*defaults, "early_stop", made.early_stop);
  read_default(*defaults, "repetition_penalty", made.repetition_penalty);
  read_default(*defaults, "no_repeat_ngram", made.no_repeat_ngram);
  if (const auto sample = defaults->find("sample"); sample != defaults->end()) {
    Drawn drawn;
    read_default(*sample, "temperature", drawn.temperature);
    read_default(*sample, "top_k", drawn.top_k);
    read_default(*sample, "top_p", drawn.top_p);
    made.drawn = drawn;
  }
  return made;
}

std::vector<std::pair<const char*, Token>> GenerationRules::tokens() const {
  std::vector<std::pair<const char*, Token>> found;
  const auto add = [&found](const char* key, const std::vector<Token>& tokens) {
    for (const Token token : tokens) found.emplace_back(key, token);
  };
  if (begin) add("begin", *begin);
  add("suppress", suppress);
  add("suppress_first", suppress_first);
  add("forced_end", forced_end);
  for (const auto& [name, choice] : choices) {
    for (const auto& [text, token] : choice.tokens) found.emplace_back("choices", token);
  }
  return found;
}

std::vector<size_t> GenerationRules::begin_lengths() const {
  if (!begin) return {};
  std::vector<size_t> found = {begin->size()};
  const auto appended = [&](const auto& each) { return each.second.place == begin->size(); };
  if (std::any_of(choices.begin(), choices.end(), appended)) found.push_back(begin->size() + 1);
  return found;
}

std::string GenerationRules::problem() const {
  if (!choices.empty() && !begin) return "choices of begin, and begin is null";
  const size_t length = begin ? begin->size() : 0;
  std::set<size_t> places;
  for (const auto& [name, choice] : choices) {
    if (choice.place > length) {
      return "choice " + in_quotes(name) + " has place " + std::to_string(choice.place) + ", and begin " + std::to_string(length) + " tokens";
    }
  }
  for (const auto& [name, choice] : choices) {
    if (!places.insert(choice.place).second) return "two choices have one place";
  }
  if (beams > 1 && drawn) return "defaults have " + std::to_string(beams) + " beams and sample, and tokens are drawn with one beam alone";
  std::set<Token> both;
  for (const Token token : forced_end) {
    if (std::count(suppress.begin(), suppress.end(), token)) both.insert(token);
  }
  return both.empty() ? "" : "forced_end and suppress have token " + std::to_string(*both.begin()) + " both";
}

std::vector<Token> GenerationRules::begin_of(const std::vector<std::pair<std::string, std::string>>& chosen, const std::string& where) const {
  std::vector<Token> made = begin.value_or(std::vector<Token>());
  for (const auto& [name, value] : chosen) {
    std::vector<std::string> known;
    for (const auto& each : choices) known.push_back(each.first);
    const auto found = std::find(known.begin(), known.end(), name);
    if (found == known.end()) {
      throw usage_error("begin: got " + in_quotes(name) + ", no choice of this model; " +
                        (known.empty() ? "it has none" : "it has " + first_names(known)) + " (" + where + ")");
    }
    const Choice& choice = choices[static_cast<size_t>(found - known.begin())].second;
    std::vector<std::string> names;
    for (const auto& each : choice.tokens) names.push_back(each.first);
    const auto taken = std::find(names.begin(), names.end(), value);
    if (taken == names.end()) {
      throw usage_error("begin: got " + printable(name, 80) + " " + in_quotes(value) + "; " + did_you_mean(value, names) +
                        "available: " + first_names(names) + " (" + where + ")");
    }
    const Token token = choice.tokens[static_cast<size_t>(taken - names.begin())].second;
    if (choice.place < made.size()) {
      made[choice.place] = token;
    } else {
      made.push_back(token);
    }
  }
  return made;
}

}  // namespace attn
