#include "generate/texts.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <set>

#include "util/unicode.h"

namespace attn {
namespace {

std::string note_of(const std::string& text, const std::vector<std::string>& words) {
  std::string told;
  std::set<std::string> before;
  for (const std::string& word : words) {
    if (before.insert(word).second) told += (told.empty() ? "\"" : ", \"") + printable(word, 40) + "\"";
  }
  return "words that the model does not know: " + told + " (in \"" + printable(text, 40) + "\")";
}

template <typename T>
void append(std::vector<T>& all, std::vector<T>& more) {
  std::move(more.begin(), more.end(), std::back_inserter(all));
}

}  // namespace

Generated generate_in_pieces(Generator& generator, const Text* text, const std::map<std::string, View>& inputs,
                             const GenerateOptions& options) {
  if (!options.on_text) return generator.generate(inputs, options);
  struct Row {
    std::vector<int64_t> tokens;
    size_t told = 0;  // bytes of its text
  };
  std::map<size_t, Row> rows;
  const auto tell = [&](size_t row, const std::string& known) {
    size_t& told = rows[row].told;
    if (known.size() <= told) return true;
    const std::string piece = known.substr(told);
    told = known.size();
    return options.on_text(row, piece);
  };
  GenerateOptions each = options;
  each.on_token = [&](size_t row, int64_t token) {
    rows[row].tokens.push_back(token);
    const bool goes_on = !options.on_token || options.on_token(row, token);
    return tell(row, text->decode_beginning(rows[row].tokens)) && goes_on;
  };
  Generated found = generator.generate(inputs, each);
  for (size_t row = 0; row < found.tokens.size(); ++row) tell(row, text->decode(found.tokens[row]));
  return found;
}

TextAnswers generate_texts(Generator& generator, const Text& text, const std::vector<std::string>& texts, const GenerateOptions& options) {
  const Settings settings = generator.settings(options);
  settings.check(generator.graph_io->vocabulary, generator.graph_io->where);
  TextAnswers made;
  for (const std::string& each : texts) {
    text.encode({each});
    const std::vector<std::string> words = text.unknown_words(each);
    if (!words.empty()) made.notes.push_back(note_of(each, words));
  }
  settings.check_lookup(generator.graph_io->most_guessed(), generator.graph_io->where);
  // Else rows may not differ in length, nor in what is guessed right of them.
  const bool alike = !generator.graph_io->one_place || (generator.graph_io->encoder && !settings.lookup);
  const auto at_once = static_cast<size_t>(alike ? std::max<int64_t>(1, generator.graph_io->most_rows / settings.beams) : 1);
  bool ended = false;
  for (size_t begin = 0; begin < texts.size() && !ended; begin += at_once) {
    const auto from = texts.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto count = static_cast<std::ptrdiff_t>(std::min(at_once, texts.size() - begin));
    const Tensors tensors = text.encode({from, from + count});
    Generated found = generate_in_pieces(generator, &text, views_of(tensors), options.of_rows_from(begin));
    ended = std::count(found.stopped.begin(), found.stopped.end(), Stopped::cancelled) > 0;
    append(made.answers.tokens, found.tokens);
    append(made.answers.scores, found.scores);
    append(made.answers.stopped, found.stopped);
    made.answers.steps = std::max(made.answers.steps, found.steps);
    made.answers.drafted += found.drafted;
    made.answers.accepted += found.accepted;
  }
  made.answers.tokens.resize(texts.size());  // of an end before the last batch: empty answers
  made.answers.stopped.resize(texts.size(), Stopped::cancelled);
  if (!made.answers.scores.empty()) made.answers.scores.resize(texts.size(), std::numeric_limits<double>::quiet_NaN());
  return made;
}

}  // namespace attn
