// Say which word a recording holds: spot_keyword BUNDLE.attn RECORDING.wav
#include <attn/runtime.hpp>

#include <cstdio>
#include <string>

#include "top_classes.h"

int main(int count, char** arguments) {
  if (count != 3) {
    std::fprintf(stderr, "usage: spot_keyword BUNDLE.attn RECORDING.wav\n");
    return ATTN_ERROR_USAGE;
  }
  try {
    const attn::Bundle bundle(arguments[1]);
    // One channel, resampled, and as long as the bundle's graph takes it.
    std::string notes;
    const attn::Tensors inputs = bundle.wav(arguments[2], notes);
    if (!notes.empty()) std::fprintf(stderr, "note: %s\n", notes.c_str());
    const attn::Session session(bundle);
    return print_top_classes(session.run(inputs), bundle.labels());
  } catch (const attn::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return error.status();
  }
}
