// Recordings of any length to texts, with a model that writes token by token (Whisper and its kin): by the bundle's assets audio.json and
// tokenizer.json. The Python twin is attn_runtime/tasks/transcription/written.py.
#pragma once

#include <string>
#include <vector>

#include "generate/generator.h"
#include "transcribe/sound.h"

namespace attn {

struct Transcribed {
  std::string text;
  std::vector<std::string> notes;  // windows that ended without a stop token
};

// Windows are read one after the other, and are the rows of options.on_token; options.on_text is refused, since a text is made of all of
// them. Raises usage_error where the bundle transcribes nothing, bundle_error for a tokenizer that is not supported, input_error for a
// recording that can't be used, and what `read` and Generator::generate raise.
Transcribed transcribe(Generator& generator, const ReadSound& read, const GenerateOptions& options);

}  // namespace attn
