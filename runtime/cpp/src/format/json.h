// JSON as a bundle may hold it: of bounded size and depth, with no key twice, no NaN or infinity, no integer beyond 64 bits.
// The Python twin is attn_runtime/files/strict_json.py.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "util/text.h"

namespace attn {

// Objects keep the order of the file: which precision is the first, and which problem, hangs on it. A look-up walks the keys.
using Json = nlohmann::ordered_json;

constexpr size_t max_json_bytes = size_t{16} << 20;  // nobody's manifest is larger
constexpr size_t max_asset_bytes = size_t{64} << 20;  // of a file of `assets`: tokenizers of 250,000 words and more take some 35 MB
constexpr size_t max_json_depth = 900;               // no manifest comes near it

// The value that `data` spells in UTF-8. Whole floats come back as integers: in JSON 1.0 and 1 are one number. Raises bundle_error, opened
// by `where`, for anything but strict JSON.
Json parse_json(std::string_view data, const std::string& where);

// The text of a file, without a look at what it says. Raises bundle_error where it is missing, no regular file or larger than `limit`.
std::string read_text(const std::filesystem::path& path, const std::string& where, size_t limit = max_json_bytes);

Json read_json(const std::filesystem::path& path, const std::string& where);

// A value from an untrusted file for a one-line message: ASCII, escaped and cut at `limit` characters.
std::string shown(const Json& value, size_t limit = 80);

}  // namespace attn
