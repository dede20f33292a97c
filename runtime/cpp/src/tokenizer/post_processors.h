// The tokens that are put around those of a text, or of a pair of texts: [CLS] and [SEP] of BERT, <s> of Llama.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "format/json.h"

namespace attn {

struct PostProcessor {
  // One part of what is made: the first text's tokens, the second's, or those given here.
  struct Part {
    enum class Kind { first, second, tokens } kind;
    int64_t type;  // which text of a pair the model takes it to be of
    std::vector<int64_t> tokens;
  };
  std::vector<Part> single;
  std::optional<std::vector<Part>> pair;  // none where the file's has not each text once
  bool is_template = true;                // false for what only moves the places of tokens
};

// Raises bundle_error, opened by `where`, for what is not among what it knows; null puts nothing around them.
PostProcessor read_post_processor(const Json& value, const std::string& where);

}  // namespace attn
