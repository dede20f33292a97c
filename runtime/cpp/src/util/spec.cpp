#include "util/spec.h"

#include <algorithm>
#include <array>

#include "util/error.h"
#include "util/names.h"
#include "util/text.h"

namespace attn {
namespace {

struct Type {
  attn_dtype dtype;
  const char* name;
  size_t bytes;
};

constexpr std::array<Type, 12> types{{
    {ATTN_FLOAT16, "float16", 2},
    {ATTN_FLOAT32, "float32", 4},
    {ATTN_FLOAT64, "float64", 8},
    {ATTN_INT8, "int8", 1},
    {ATTN_INT16, "int16", 2},
    {ATTN_INT32, "int32", 4},
    {ATTN_INT64, "int64", 8},
    {ATTN_UINT8, "uint8", 1},
    {ATTN_UINT16, "uint16", 2},
    {ATTN_UINT32, "uint32", 4},
    {ATTN_UINT64, "uint64", 8},
    {ATTN_BOOL, "bool", 1},
}};

const Type* type_of(attn_dtype dtype) {
  const auto found = std::find_if(types.begin(), types.end(), [&](const Type& type) { return type.dtype == dtype; });
  return found == types.end() ? nullptr : found;
}

[[noreturn]] void too_large(const Shape& shape) {
  throw input_error("shape " + text(shape) + " has more elements than this machine can address; use smaller sizes");
}

// No export takes a size below 1.
std::string advice(const std::string& name, const Dim& dim, int64_t size) {
  if (size < 1) return "Give " + name + " a size of these.";
  return "Re-export with --dim " + name + "=" + std::to_string(std::min(dim.min, size)) + ":" + std::to_string(dim.opt) + ":" +
         std::to_string(std::max(dim.max, size)) + ".";
}

}  // namespace

std::string Dim::text() const {
  if (!name) return std::to_string(opt);
  if (dynamic()) return *name + "=" + std::to_string(min) + ".." + std::to_string(max);
  return *name + "=" + std::to_string(opt);
}

Shape TensorSpec::shape(const std::map<std::string, int64_t>& sizes) const {
  Shape shape;
  for (const Dim& dim : dims) {
    const auto given = dim.name ? sizes.find(*dim.name) : sizes.end();
    shape.push_back(given == sizes.end() ? dim.opt : given->second);
  }
  return shape;
}

std::vector<std::string> names_of(const std::vector<TensorSpec>& specs) {
  std::vector<std::string> names;
  for (const TensorSpec& spec : specs) names.push_back(spec.name);
  return names;
}

std::string TensorSpec::text() const {
  std::vector<std::string> words;
  for (const Dim& dim : dims) words.push_back(dim.text());
  return name + ": " + name_of(dtype) + "[" + joined(words) + "]";
}

size_t elements(const Shape& shape) {
  // A size of 0 makes any shape small, in whatever order the sizes come.
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  size_t count = 1;
  for (const int64_t size : shape) {
    if (size < 0 || __builtin_mul_overflow(count, static_cast<uint64_t>(size), &count)) too_large(shape);
  }
  return count;
}

size_t bytes_of(attn_dtype dtype, const Shape& shape) {
  size_t bytes = 0;
  // PTRDIFF_MAX is the most that an allocation can be.
  if (__builtin_mul_overflow(elements(shape), size_of(dtype), &bytes) || bytes > PTRDIFF_MAX) too_large(shape);
  return bytes;
}

std::string text(const Shape& shape) {
  std::vector<std::string> words;
  for (const int64_t size : shape) words.push_back(std::to_string(size));
  return "[" + joined(words) + "]";
}

std::optional<attn_dtype> dtype_of(const std::string& name) {
  for (const Type& type : types) {
    if (type.name == name) return type.dtype;
  }
  return std::nullopt;
}

const char* name_of(attn_dtype dtype) {
  const Type* type = type_of(dtype);
  return type ? type->name : nullptr;
}

size_t size_of(attn_dtype dtype) {
  const Type* type = type_of(dtype);
  return type ? type->bytes : 0;
}

void check_shapes(const std::vector<TensorSpec>& specs, const std::map<std::string, Signature>& given, const std::string& where) {
  std::vector<std::string> wanted, missing, unknown;
  for (const TensorSpec& spec : specs) {
    wanted.push_back(spec.name);
    if (!given.count(spec.name)) missing.push_back(spec.name);
  }
  for (const auto& [name, signature] : given) {
    if (std::find(wanted.begin(), wanted.end(), name) == wanted.end()) unknown.push_back(name.size() > 200 ? shown(name, 200) : name);
  }
  if (!missing.empty() || !unknown.empty()) {
    std::string parts = missing.empty() ? "" : "missing input " + joined(missing);
    if (!unknown.empty()) parts += (parts.empty() ? "" : "; ") + ("unknown input " + joined(unknown));
    throw input_error(parts + "; expected " + joined(wanted) + " (" + where + ")");
  }
  std::map<std::string, std::pair<int64_t, std::string>> seen;  // dim -> size, and the input that had it first
  for (const TensorSpec& spec : specs) {
    const auto& [dtype, shape] = given.at(spec.name);
    const char* type = name_of(dtype);
    const std::string got = "input \"" + spec.name + "\": got " + (type ? type : "no dtype") + " " + text(shape);
    if (dtype != spec.dtype) {
      throw input_error(got + "; expected dtype " + name_of(spec.dtype) + " (" + where + "). Convert it before the call.");
    }
    if (shape.size() != spec.dims.size()) {
      throw input_error(got + "; expected rank " + std::to_string(spec.dims.size()) + ": " + spec.text() + " (" + where + ").");
    }
    for (size_t axis = 0; axis < shape.size(); ++axis) {
      const int64_t size = shape[axis];
      const Dim& dim = spec.dims[axis];
      if (size < dim.min || size > dim.max) {
        if (!dim.dynamic()) {
          throw input_error(got + "; axis " + std::to_string(axis) + " is fixed at " + std::to_string(dim.opt) + ": " + spec.text() +
                            " (" + where + ").");
        }
        const std::string name = dim.name.value_or("?");
        throw input_error(got + "; dim " + name + " allows " + std::to_string(dim.min) + ".." + std::to_string(dim.max) + " (" + where +
                          "). " + advice(name, dim, size));
      }
      if (!dim.name) continue;
      const auto& before = seen.try_emplace(*dim.name, size, spec.name).first->second;
      if (before.first != size) {
        throw input_error(got + "; dim " + *dim.name + " is " + std::to_string(size) + " here and " + std::to_string(before.first) +
                          " in input \"" + before.second + "\" (" + where + ").");
      }
    }
  }
}

}  // namespace attn
