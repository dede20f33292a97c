// Lists of names in messages, and the known name that is most like a given one.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace attn {

class Error;

// "a, b, c"
std::string joined(const std::vector<std::string>& words, const char* between = ", ");

// The one of `known` with the fewest letters to change; none where that is more than a third of them.
std::optional<std::string> nearest(const std::string& name, const std::vector<std::string>& known);

// "did you mean NAME? ", or "".
std::string did_you_mean(const std::string& name, const std::vector<std::string>& known);

// usage_error: unknown KIND "NAME"; did you mean ..? available: .. (WHERE)
Error unknown(const char* kind, const std::string& name, const std::vector<std::string>& known, const std::string& where);

}  // namespace attn
