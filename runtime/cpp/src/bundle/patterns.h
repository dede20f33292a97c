// The regular expressions of the two schemas, each as a check of its own: they are few, and a hostile text finds no engine to exhaust.
#pragma once

#include <string>
#include <string_view>

namespace attn {

using PatternCheck = bool (*)(const std::u32string& text);

// Whether a whole text matches the `pattern` of a schema; nullptr for a pattern that no schema has.
PatternCheck check_of_pattern(std::string_view pattern);

}  // namespace attn
