#include "transcribe/written.h"

#include <algorithm>

#include "preprocess/audio.h"
#include "tokenizer/tokenizer.h"
#include "transcribe/windows.h"
#include "util/error.h"
#include "util/unicode.h"

namespace attn {
namespace {

Json asset(const Generator& generator, const char* name, const char* lacks) {
  auto found = generator.bundle->asset(name);
  if (!found || found->is_null()) throw usage_error(generator.graph_io->where + ": " + lacks);
  return std::move(*found);
}

}  // namespace

Transcribed transcribe(Generator& generator, const ReadSound& read, const GenerateOptions& options) {
  const Json audio = asset(generator, "audio", "takes no recordings: there is no audio.json among its assets");
  const TensorSpec& input = wave_input(generator.graph_io->inputs, audio, generator.graph_io->where);
  const Tokenizer tokenizer(asset(generator, "tokenizer", "writes no texts: its assets lack tokenizer.json"), generator.graph_io->where);
  const Settings settings = generator.settings(options);
  settings.check(generator.graph_io->vocabulary, generator.graph_io->where);
  if (options.on_text) throw usage_error("on_text: a transcription is the text of all windows together; take on_token, or leave it out");
  const auto [samples, frames, channels, rate] = read();
  const std::vector<float> whole = whole_audio(samples, frames, channels, rate, AudioRecipe::of(audio).rate);
  const std::vector<Window> windows = behind_each_other(static_cast<int64_t>(whole.size()), input.dims[1].max);
  const auto at_once = static_cast<size_t>(std::max<int64_t>(1, generator.graph_io->most_rows / settings.beams));
  Transcribed made;
  std::vector<int64_t> tokens;
  bool ended = false;
  for (size_t begin = 0, count = 0; begin < windows.size() && !ended; begin += count) {
    count = equally_long(windows, begin, at_once);
    const int64_t size = std::max(windows[begin].samples(), input.dims[1].min);
    const Tensor batch(input.name, ATTN_FLOAT32, {static_cast<int64_t>(count), size});
    auto* row = batch.view().as<float>();
    std::fill(row, row + static_cast<int64_t>(count) * size, 0.0F);
    for (size_t i = 0; i < count; ++i, row += size) {
      std::copy(whole.begin() + windows[begin + i].start, whole.begin() + windows[begin + i].stop, row);
    }
    const Generated found = generator.generate({{input.name, batch.view()}}, options.of_rows_from(begin));
    for (size_t i = 0; i < count; ++i) {
      const std::vector<int64_t>& written = found.tokens[i];
      tokens.insert(tokens.end(), written.begin(), written.end() - (found.stopped[i] == Stopped::stop ? 1 : 0));
      ended = ended || found.stopped[i] == Stopped::cancelled;
      if (found.stopped[i] == Stopped::length) {
        made.notes.push_back("window " + std::to_string(begin + i + 1) + " of " + std::to_string(windows.size()) + " ends at " +
                             std::to_string(written.size()) + " tokens, without a stop token");
      }
    }
  }
  // As one text: what stands between words is part of their tokens, and some tokenizers leave it out at a beginning.
  made.text = without_ends(tokenizer.decode(tokens));
  return made;
}

}  // namespace attn
