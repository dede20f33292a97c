// The model of tokenizer.json: what makes tokens of words.
#pragma once

#include <memory>
#include <string>

#include "format/json.h"
#include "tokenizer/models/model.h"

namespace attn {

// Raises bundle_error, opened by `where`, for a model that is not among those it knows, and for one that contradicts itself.
std::unique_ptr<Model> read_model(const Json& value, const std::string& where);

}  // namespace attn
