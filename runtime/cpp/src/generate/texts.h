// Texts in, texts out: translations of a model with an encoder, continuations of one without. The Python twin is
// attn_runtime/generate/text_generation.py.
#pragma once

#include <string>
#include <vector>

#include "generate/generator.h"
#include "tokenizer/text_input.h"

namespace attn {

struct TextAnswers {
  Generated answers;               // one row a text
  std::vector<std::string> notes;  // words that the tokenizer does not know, one line a text that has any
};

// Generator::generate, which tells options.on_text too: pieces of each row that add up to its text, the last ones at the end. `text` may be
// null without on_text.
Generated generate_in_pieces(Generator& generator, const Text* text, const std::map<std::string, View>& inputs, const GenerateOptions& options);

// As many texts at a time as the graphs take. Every text is looked at before the first one is run. Raises input_error for one that is empty
// or too long, and what Generator::generate raises.
TextAnswers generate_texts(Generator& generator, const Text& text, const std::vector<std::string>& texts, const GenerateOptions& options);

}  // namespace attn
