// Recordings of any length to texts, with a model that answers the scores of a token for each frame: by the bundle's assets audio.json,
// ctc.json and tokenizer.json. The Python twins are attn_runtime/tasks/transcription/ctc.py and attn_runtime/preprocess/token_text.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "session/session.h"

namespace attn {

// Raises usage_error where the session's bundle has no CTC head, bundle_error where its assets do not fit the graph, input_error for a
// recording that can't be used and for scores that are not finite, and what a run raises.
std::string transcribe(const Session& session, const float* samples, size_t frames, size_t channels, uint64_t rate);

// The same errors of the bundle, before a recording is read.
void check_transcriber(const Session& session);

// Of equal tokens in a row one, without the blank.
std::vector<int64_t> best_path(const std::vector<int64_t>& frames, int64_t blank);

}  // namespace attn
