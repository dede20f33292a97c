// An ONNX file opened to be looked at, and what is said of one that is broken.
#pragma once

#include <filesystem>
#include <string>
#include <system_error>

#include "format/protobuf.h"
#include "util/error.h"

namespace attn {

// What `read` returns, which is given the WireFile; bundle_error, opened by `where`, for what is no file and for a broken message in it.
template <typename Read>
auto read_onnx_file(const std::filesystem::path& file, const std::string& where, Read read) {
  const std::string name = file.filename().string();
  try {
    WireFile data(file);
    if (!data.file().regular()) throw bundle_error(where + ": " + name + " is not a regular file. Export it again.");
    if (!data.size()) throw bundle_error(where + ": " + name + " is empty.");
    return read(data);
  } catch (const std::system_error& error) {
    throw bundle_error(where + ": can't read " + name + ": " + error.code().message() + ".");
  } catch (const BrokenMessage& error) {
    throw bundle_error(where + ": " + name + " is truncated or no ONNX file (" + error.what() + "). Export it again.");
  }
}

}  // namespace attn
