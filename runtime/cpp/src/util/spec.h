// What a tensor may look like, as the manifest and the messages have it. The Python twin is attn_runtime/spec.py.
#pragma once

#include <attn/runtime.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace attn {

using Shape = std::vector<int64_t>;

struct Dim {
  std::optional<std::string> name;  // none for a fixed axis; then min == opt == max
  int64_t min, opt, max;            // in elements, both ends included

  bool dynamic() const { return min != max; }
  std::string text() const;  // "batch=1..8", "3"
};

struct TensorSpec {
  std::string name;
  attn_dtype dtype;
  std::vector<Dim> dims;
  std::string meaning, unit;
  std::optional<int64_t> low, high;  // of an integer input: inclusive, exclusive

  Shape shape(const std::map<std::string, int64_t>& sizes) const;  // named dims as given, else their opt
  std::string text() const;                                        // "image: float32[batch=1..32, 3, 32, 32]"
};

std::vector<std::string> names_of(const std::vector<TensorSpec>& specs);

struct Signature {
  attn_dtype dtype;
  Shape shape;
};

// Elements and bytes of a shape. Raises input_error where they are beyond size_t.
size_t elements(const Shape& shape);
size_t bytes_of(attn_dtype dtype, const Shape& shape);
std::string text(const Shape& shape);  // "[1, 3, 32, 32]"

std::optional<attn_dtype> dtype_of(const std::string& name);
const char* name_of(attn_dtype dtype);
size_t size_of(attn_dtype dtype);

// Hold every input against its spec: missing or unknown names, dtypes, ranks, ranges, and dims that have two sizes. Raises
// input_error. `where` names the graph, as in "bundle translate.attn".
void check_shapes(const std::vector<TensorSpec>& specs, const std::map<std::string, Signature>& given, const std::string& where);

}  // namespace attn
