// What makes a manifest valid: the published schema, and the rules between values that no schema can state. The Python twin is
// attn_runtime/bundle/manifest.py.
#pragma once

#include <string>

#include "format/json.h"

namespace attn {

constexpr const char* manifest_name = "manifest.json";

// Raises bundle_error, opened by `where`, unless this version can read `manifest` and it agrees with itself.
void check_manifest(const Json& manifest, const std::string& where);

// What tells the rules of this version from those of another one: that of the library, and the bytes of its schema.
std::string manifest_rules();

// Raises bundle_error unless the asset `name` has its published form; assets that the schema does not know pass.
void check_asset(const std::string& name, const Json& value, const std::string& where);

}  // namespace attn
