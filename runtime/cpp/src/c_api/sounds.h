// Recordings that are to be transcribed, as C gives them.
#pragma once

#include "c_api/errors.h"
#include "preprocess/wav.h"
#include "transcribe/sound.h"

namespace attn {

inline ReadSound sound_of(const float* samples, size_t frames, size_t channels, size_t rate) {
  return [=] { return Sound{required(samples, "samples"), frames, channels, rate}; };
}

// Of a file, which is read into `found`; what is peculiar of it is kept for attn_last_notes.
inline ReadSound sound_of(const char* path, Recording& found) {
  return [path, &found] {
    found = read_wav(required(path, "path"));
    keep_notes(found.notes);
    return Sound{found.samples.data(), found.samples.size() / found.channels, found.channels, found.rate};
  };
}

}  // namespace attn
