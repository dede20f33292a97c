#include "transcribe/ctc.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <utility>

#include "preprocess/audio.h"
#include "tokenizer/tokenizer.h"
#include "transcribe/windows.h"
#include "unicode/normal_forms.h"
#include "util/error.h"
#include "util/unicode.h"

namespace attn {
namespace {

constexpr int64_t most_rows = 8;  // of a batch of windows, which all lie in memory

// How tokens are written.
class CtcWriter {
 public:
  CtcWriter(const Json& recipe, const Json& tokenizer, const std::string& where) {
    const auto type_of = [&](const char* part) -> std::string {
      if (!tokenizer.is_object() || !tokenizer.contains(part) || !tokenizer.at(part).is_object()) return "";
      const Json& found = tokenizer.at(part);
      return found.contains("type") && found.at("type").is_string() ? found.at("type").get<std::string>() : "";
    };
    if (type_of("decoder") != "CTC") {
      // Special tokens are written too, as transformers' pipeline does.
      Json open = tokenizer;
      if (open.is_object() && open.contains("added_tokens") && open.at("added_tokens").is_array()) {
        for (Json& each : open.at("added_tokens")) {
          if (each.is_object() && each.contains("special")) each["special"] = false;
        }
      }
      whole_ = std::make_unique<Tokenizer>(open, where);
      return;
    }
    // Words and a delimiter: what the decoder of that name does beyond that, merging and leaving out the blank, has been done.
    if (type_of("model") != "WordLevel" || !tokenizer.at("model").contains("vocab") || !tokenizer.at("model").at("vocab").is_object()) {
      throw bundle_error(where + ": asset tokenizer: a CTC decoder is supported beside a WordLevel model with a vocab (in C++). Use attn-run");
    }
    const Json& decoder = tokenizer.at("decoder");
    const auto text_of = [&](const char* key) {
      return decoder.contains(key) && decoder.at(key).is_string() ? decoder.at(key).get<std::string>() : std::string();
    };
    const std::string blank = text_of("pad_token");
    const std::string delimiter = decoder.contains("cleanup") && decoder.at("cleanup") == true ? text_of("word_delimiter_token") : "";
    bool fits = false;
    for (const auto& [word, token] : tokenizer.at("model").at("vocab").items()) {
      if (!token.is_number_integer()) continue;
      words_.emplace(token.get<int64_t>(), replaced(replaced(word, blank, ""), delimiter, " "));
      fits = fits || (word == blank && token == recipe.at("blank"));
    }
    if (!fits) {
      throw bundle_error(where + ": asset ctc: its blank is token " + recipe.at("blank").dump() + ", that of the tokenizer's decoder is " +
                         shown(blank) + "; re-export the bundle");
    }
  }

  std::string text(const std::vector<int64_t>& tokens) const {
    if (whole_) return whole_->decode(tokens);
    std::string made;
    for (const int64_t token : tokens) {
      const auto word = words_.find(token);
      if (word != words_.end()) made += word->second;
    }
    return made;
  }

 private:
  std::map<int64_t, std::string> words_;
  std::unique_ptr<Tokenizer> whole_;
};

struct Transcriber {
  Json audio, recipe, tokenizer;
  std::string input, output;
  Dim rows, length;

  explicit Transcriber(const Session& session) {
    const auto take = [&](const char* name) {
      auto found = session.bundle->asset(name);
      if (!found) {
        throw usage_error(session.where + ": transcribes no recordings by itself: it has no asset " + name +
                          "; expected audio, ctc and tokenizer");
      }
      return std::move(*found);
    };
    audio = take("audio");
    recipe = take("ctc");
    tokenizer = take("tokenizer");
    output = recipe.at("output").get<std::string>();
    const TensorSpec& wave = wave_input(session.inputs, audio, session.where);
    input = wave.name;
    rows = wave.dims[0];
    length = wave.dims[1];
    const auto found = std::find_if(session.outputs.begin(), session.outputs.end(), [&](const TensorSpec& spec) { return spec.name == output; });
    if (found == session.outputs.end() || found->dtype != ATTN_FLOAT32 || found->dims.size() != 3) {
      throw bundle_error(session.where + ": asset ctc: there is no output " + shown(output) +
                         " of float32 [batch, frames, tokens]; re-export the bundle");
    }
  }
};

// The likeliest tokens of the frames of each of `windows`, which are equally long, that are the windows' own. `last_of_all`: none follows.
void read_windows(const Session& session, const Transcriber& model, const std::vector<float>& samples, const Window* windows, size_t count,
                  bool last_of_all, std::vector<int64_t>& frames) {
  const auto given = std::max(static_cast<int64_t>(count), model.rows.min);
  const int64_t size = std::max(windows[0].samples(), model.length.min);
  const Tensor batch(model.input, ATTN_FLOAT32, {given, size});
  auto* row = batch.view().as<float>();
  for (int64_t i = 0; i < given; ++i, row += size) {
    const Window& window = windows[std::min(static_cast<size_t>(i), count - 1)];  // a graph of a fixed batch is given the last row again
    std::copy(samples.begin() + window.start, samples.begin() + window.stop, row);
  }
  const Tensors made = session.run({{model.input, batch.view()}});
  const View scores = made.at(model.output).view();
  if (scores.shape[0] != given) throw bundle_error(session.where + ": asset ctc: " + model.output + " has another batch than its input");
  const int64_t columns = scores.shape[2];
  const auto* all = scores.as<float>();
  if (!std::all_of(all, all + scores.shape[0] * scores.shape[1] * columns, [](float value) { return std::isfinite(value); })) {
    throw input_error(session.where + ": its scores are not finite, so there is no text");
  }
  for (size_t i = 0; i < count; ++i) {
    const auto [first, last] = windows[i].kept(model.recipe.at("frame").get<int64_t>());
    if ((!last_of_all || i + 1 < count) && scores.shape[1] < last) {
      throw usage_error(session.where + ": windows of " + std::to_string(windows[i].samples()) + " samples can't be joined: they give " +
                        std::to_string(scores.shape[1]) + " frames, and " + std::to_string(last) +
                        " are needed; re-export with a longer range of samples");
    }
    const float* of_window = all + static_cast<int64_t>(i) * scores.shape[1] * columns;
    for (int64_t frame = first; frame < std::min(last, scores.shape[1]) && columns; ++frame) {
      const float* score = of_window + frame * columns;
      frames.push_back(std::max_element(score, score + columns) - score);
    }
  }
}

// Of equal tokens in a row one, without the blank.
std::vector<int64_t> best_path(const std::vector<int64_t>& frames, int64_t blank) {
  std::vector<int64_t> tokens;
  for (size_t i = 0; i < frames.size(); ++i) {
    if (frames[i] != blank && (!i || frames[i] != frames[i - 1])) tokens.push_back(frames[i]);
  }
  return tokens;
}

}  // namespace

std::string transcribe(const Session& session, const ReadSound& read) {
  const Transcriber model(session);
  const CtcWriter writer(model.recipe, model.tokenizer, session.where);
  const auto [samples, frames, channels, rate] = read();
  const std::vector<float> whole = whole_audio(samples, frames, channels, rate, AudioRecipe::of(model.audio).rate);
  const auto frame = model.recipe.at("frame").get<int64_t>();
  const std::vector<Window> windows = overlapping(static_cast<int64_t>(whole.size()), model.length.max, frame);
  const auto at_once = static_cast<size_t>(std::max(model.rows.min, std::min(model.rows.max, most_rows)));
  std::vector<int64_t> likeliest;
  for (size_t begin = 0; begin < windows.size();) {
    const size_t count = equally_long(windows, begin, at_once);
    read_windows(session, model, whole, &windows[begin], count, begin + count == windows.size(), likeliest);
    begin += count;
  }
  std::string text = without_ends(writer.text(best_path(likeliest, model.recipe.at("blank").get<int64_t>())));
  if (model.recipe.contains("lowercase") && model.recipe.at("lowercase").get<bool>()) {
    Characters letters = characters(code_points(text));
    lower_case(letters);
    text = utf8_of(letters);
  }
  return text;
}

}  // namespace attn
