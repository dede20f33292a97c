// The protobuf wire format, as far as reading an ONNX file takes: field by field, without loading what is not asked for. The Python twin is
// attn_runtime/onnx_file/protobuf.py.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>

#include "util/files.h"

namespace attn {

// What is wrong with a message; the caller says of which file.
class BrokenMessage : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

enum class Wire { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

// One field of a message, whose content is in [begin, end); `value` is a varint's number.
struct WireField {
  uint64_t number;
  Wire wire;
  uint64_t begin, end, value;
};

// A file of which small parts are looked at. Not mapped: a file that is cut meanwhile must not kill the process.
class WireFile {
 public:
  explicit WireFile(const std::filesystem::path& path) : file_(path) {}

  const File& file() const { return file_; }
  uint64_t size() const { return file_.size(); }
  std::string bytes(uint64_t begin, uint64_t end);
  // The number at `at`, which it moves behind it.
  uint64_t varint(uint64_t& at, uint64_t end);
  // Calls `each` with every field in [at, end), in order.
  void fields(uint64_t at, uint64_t end, const std::function<void(const WireField&)>& each);
  // Calls `each` with number, first byte and one past the last of every length-delimited field in [at, end); steps over the others.
  void messages(uint64_t at, uint64_t end, const std::function<void(uint64_t number, uint64_t begin, uint64_t end)>& each);

 private:
  uint8_t byte(uint64_t at);

  File file_;
  std::array<uint8_t, 4096> window_{};
  uint64_t begin_ = 0, end_ = 0;  // what of the file is in the window
};

}  // namespace attn
