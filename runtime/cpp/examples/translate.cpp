// Translate sentences, or go on from the beginning of one: translate [--beams N] BUNDLE.attn TEXT...
#include <attn/runtime.hpp>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "terminal_text.h"

namespace {

// A sign of life for each token as it is chosen, with one beam.
bool shows_progress(size_t, int64_t) {
  std::fputc('.', stderr);
  return true;
}

}  // namespace

int main(int count, char** arguments) {
  int first = 1;
  attn::GenerateOptions options;
  if (count > 2 && !std::strcmp(arguments[1], "--beams")) {
    options.beams = std::atol(arguments[2]);
    first = 3;
  }
  if (count < first + 2) {
    std::fprintf(stderr, "usage: translate [--beams N] BUNDLE.attn TEXT...\n");
    return ATTN_ERROR_USAGE;
  }
  const bool one_beam = options.beams.value_or(1) == 1;
  if (one_beam) options.beams = 1, options.on_token = shows_progress;
  try {
    const attn::Bundle bundle(arguments[first]);
    const attn::Generator generator(bundle);
    const attn::Answers answers = generator.generate_text({arguments + first + 1, arguments + count}, options);
    if (one_beam) std::fputc('\n', stderr);
    for (const std::string& note : answers.notes) std::fprintf(stderr, "note: %s\n", note.c_str());
    for (const attn::Answer& answer : answers.rows) print_answer(answer.text);
    return 0;
  } catch (const attn::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return error.status();
  }
}
