// The handles of generators and of what they wrote.
#pragma once

#include <attn/runtime.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "c_api/specs.h"
#include "generate/generator.h"
#include "tokenizer/text_input.h"

struct attn_generator {
  std::shared_ptr<attn::Generator> generator;
  attn::CSpecs inputs;
  std::shared_ptr<const attn::Text> text;  // null where the bundle takes no texts
};

struct attn_result {
  attn::Generated answers;
  std::vector<std::string> notes;
  std::shared_ptr<const attn::Text> text;
  mutable std::vector<std::optional<std::string>> texts;  // written when they are asked for
};

namespace attn {

// usage_error for NULL.
const Generator& opened(const attn_generator* generator);

// Tells what is missing where there is no text.
void expect_text(const attn_generator& generator);

// `text` may be null.
std::unique_ptr<attn_result> result_of(Generated answers, std::shared_ptr<const Text> text);

}  // namespace attn
