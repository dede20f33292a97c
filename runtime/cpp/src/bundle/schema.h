// The part of JSON Schema (draft 2020-12) that manifest.schema.json uses. The Python twin is attn_runtime/files/json_schema.py.
#pragma once

#include <optional>
#include <string>

#include "format/json.h"

namespace attn {

// The document manifest.schema.json, which the build puts into the library.
const Json& manifest_schema();

// The first place where `value` breaks `schema`, as "PLACE: got X, expected Y"; none when it fits. `root` is the document that
// "$ref": "#/$defs/NAME" looks in.
std::optional<std::string> find_problem(const Json& value, const Json& schema, const Json& root);

}  // namespace attn
