// Recordings to texts, as C sees them.
#include "c_api/errors.h"
#include "c_api/generator.h"
#include "c_api/session.h"
#include "c_api/sounds.h"
#include "c_api/tensors.h"
#include "transcribe/ctc.h"
#include "transcribe/written.h"

using namespace attn;

extern "C" {

int attn_session_transcribe(attn_session* session, const float* samples, size_t frames, size_t channels, size_t rate, const char** text) {
  return guarded([&] {
    const Session& opened = *required(session, "session")->session;
    required(text, "text");
    *text = keep_text(transcribe(opened, sound_of(samples, frames, channels, rate)));
  });
}

int attn_session_transcribe_wav(attn_session* session, const char* path, const char** text) {
  return guarded([&] {
    keep_notes({});
    const Session& opened = *required(session, "session")->session;
    required(text, "text");
    Recording found{};
    *text = keep_text(transcribe(opened, sound_of(path, found)));
  });
}

int attn_generator_transcribe(attn_generator* generator, const float* samples, size_t frames, size_t channels, size_t rate,
                              const attn_generate_options* options, const char** text) {
  return guarded([&] {
    keep_notes({});
    opened(generator);
    required(text, "text");
    Transcribed made = transcribe(*generator->generator, sound_of(samples, frames, channels, rate), GenerateOptions::of(options));
    keep_notes(made.notes);
    *text = keep_text(std::move(made.text));
  });
}

int attn_generator_transcribe_wav(attn_generator* generator, const char* path, const attn_generate_options* options, const char** text) {
  return guarded([&] {
    keep_notes({});
    opened(generator);
    required(text, "text");
    Recording found{};
    Transcribed made = transcribe(*generator->generator, sound_of(path, found), GenerateOptions::of(options));
    found.notes.insert(found.notes.end(), made.notes.begin(), made.notes.end());
    keep_notes(found.notes);
    *text = keep_text(std::move(made.text));
  });
}

}  // extern "C"
