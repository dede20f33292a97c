// safetensors files, read without trust: a header of JSON, and the tensors' bytes without a gap. The Python twin is
// attn_runtime/bundle/tensor_files.py.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "util/files.h"
#include "util/spec.h"
#include "util/tensor.h"

namespace attn {

constexpr uint64_t max_safetensors_header_bytes = uint64_t{4} << 20;

class SafetensorsFile {
 public:
  struct Entry {
    std::string dtype;  // "float32", or the file's own word where no bundle holds it ("BF16")
    Shape shape;
    uint64_t begin, end;  // bytes of the file
  };

  // Reads the header, and holds it against the size of the file. Raises bundle_error, opened by `where`.
  SafetensorsFile(const std::filesystem::path& path, const std::string& where);

  const std::map<std::string, Entry>& entries() const { return entries_; }
  Tensor read(const std::string& name) const;  // of a dtype that bundles hold

 private:
  void check_layout() const;
  [[noreturn]] void refuse(const std::string& what) const;

  std::string name_, where_;
  File file_;
  uint64_t data_begin_ = 0;
  std::map<std::string, Entry> entries_;
};

// The tensors of `specs`, each of its spec's dtype and of the shape that `sizes` gives; a named dim that `sizes` lacks may have any size in
// its range. Every name, dtype and shape is checked before the first tensor is read. Raises bundle_error.
Tensors read_tensors(const std::filesystem::path& path, const std::vector<TensorSpec>& specs, const std::map<std::string, int64_t>& sizes,
                     const std::string& where);

// All tensors of a safetensors file (header up to 4 MiB). Raises bundle_error.
Tensors read_safetensors(const std::filesystem::path& path, const std::string& where);

}  // namespace attn
