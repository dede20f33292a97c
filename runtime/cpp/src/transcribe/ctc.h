// Recordings of any length to texts, with a model that answers the scores of a token for each frame: by the bundle's assets audio.json,
// ctc.json and tokenizer.json. The Python twins are attn_runtime/tasks/transcription/ctc.py and attn_runtime/preprocess/token_text.py.
#pragma once

#include <string>

#include "session/session.h"
#include "transcribe/sound.h"

namespace attn {

// Raises usage_error where the session's bundle has no CTC head, bundle_error where its assets do not fit the graph, input_error for a
// recording that can't be used and for scores that are not finite, and what `read` and a run raise.
std::string transcribe(const Session& session, const ReadSound& read);

}  // namespace attn
