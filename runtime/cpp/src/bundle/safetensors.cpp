#include "bundle/safetensors.h"

#include <algorithm>
#include <array>
#include <set>

#include "format/json.h"
#include "util/error.h"

namespace attn {
namespace {

constexpr const char* re_export = "re-export the bundle";

struct FileType {
  const char* name;   // in the file
  const char* numpy;  // nullptr where no bundle holds it
  unsigned bits;
};

constexpr std::array<FileType, 22> file_types{{
    {"F16", "float16", 16},
    {"F32", "float32", 32},
    {"F64", "float64", 64},
    {"I8", "int8", 8},
    {"I16", "int16", 16},
    {"I32", "int32", 32},
    {"I64", "int64", 64},
    {"U8", "uint8", 8},
    {"U16", "uint16", 16},
    {"U32", "uint32", 32},
    {"U64", "uint64", 64},
    {"BOOL", "bool", 8},
    {"BF16", nullptr, 16},
    {"C64", nullptr, 64},
    {"F4", nullptr, 4},
    {"F6_E2M3", nullptr, 6},
    {"F6_E3M2", nullptr, 6},
    {"F8_E4M3", nullptr, 8},
    {"F8_E4M3FNUZ", nullptr, 8},
    {"F8_E5M2", nullptr, 8},
    {"F8_E5M2FNUZ", nullptr, 8},
    {"F8_E8M0", nullptr, 8},
}};

// A number of a header, which may be any JSON; none where it is no whole number from 0 to 2**63 - 1.
std::optional<uint64_t> number(const Json& value) {
  if (!value.is_number_integer() || value.get<int64_t>() < 0) return std::nullopt;
  return value.get<uint64_t>();
}

std::pair<int64_t, int64_t> range(const Dim& dim, const std::map<std::string, int64_t>& sizes) {
  const auto given = dim.name ? sizes.find(*dim.name) : sizes.end();
  return given == sizes.end() ? std::pair{dim.min, dim.max} : std::pair{given->second, given->second};
}

bool fits(const Shape& shape, const TensorSpec& spec, const std::map<std::string, int64_t>& sizes) {
  if (shape.size() != spec.dims.size()) return false;
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    const auto [low, high] = range(spec.dims[axis], sizes);
    if (shape[axis] < low || shape[axis] > high) return false;
  }
  return true;
}

std::string expected(const TensorSpec& spec, const std::map<std::string, int64_t>& sizes) {
  std::string text = std::string(name_of(spec.dtype)) + " [";
  for (size_t axis = 0; axis < spec.dims.size(); ++axis) {
    const auto [low, high] = range(spec.dims[axis], sizes);
    text += (axis ? ", " : "") + std::to_string(low) + (low == high ? "" : ".." + std::to_string(high));
  }
  return text + "]";
}

std::string reason(const std::system_error& error) { return error.code().message(); }

// Opens it, or says in the reader's words why not.
const std::filesystem::path& readable(const std::filesystem::path& path, const std::string& where) {
  try {
    if (!File(path).regular()) throw bundle_error(where + ": " + path.filename().string() + " is not a regular file; " + re_export);
  } catch (const std::system_error& error) {
    throw bundle_error(where + ": can't read " + path.filename().string() + ": " + reason(error) + "; " + re_export);
  }
  return path;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path, const std::string& where)
    : name_(path.filename().string()), where_(where), file_(readable(path, where)) {
  try {
    std::array<unsigned char, 8> length{};
    const size_t got = file_.read_at(0, length.data(), length.size());
    uint64_t bytes = 0;
    for (size_t i = got; i-- > 0;) bytes = bytes << 8 | length[i];
    if (bytes > std::min(max_safetensors_header_bytes, std::max(file_.size(), uint64_t{8}) - 8)) {
      throw bundle_error(where + ": " + name_ + " claims a header of " + std::to_string(bytes) + " bytes in a file of " +
                         std::to_string(file_.size()) + ", at most " + std::to_string(max_safetensors_header_bytes) + " are accepted; " +
                         re_export);
    }
    if (got < length.size()) refuse("it is shorter than 8 bytes");
    data_begin_ = 8 + bytes;
    std::string header(bytes, '\0');
    if (file_.read_at(8, header.data(), bytes) < bytes) refuse("its header is cut");
    Json entries;
    try {
      entries = parse_json(header, "the header");
    } catch (const Error& error) {
      const std::string what = error.what();
      refuse(what.substr(0, what.rfind("; ")));
    }
    if (!entries.is_object()) refuse("its header is no object");
    for (const auto& [name, entry] : entries.get_ref<const Json::object_t&>()) {
      if (name == "__metadata__") {
        const bool texts = entry.is_object() && std::all_of(entry.begin(), entry.end(), [](const Json& text) { return text.is_string(); });
        if (!texts) refuse("__metadata__ is no object of texts");
        continue;
      }
      const std::string tensor = "tensor " + shown(name, 80);
      for (const char* key : {"dtype", "shape", "data_offsets"}) {
        if (!entry.is_object() || !entry.contains(key)) refuse(tensor + " has no " + key);
      }
      const Json &type = entry.at("dtype"), &sizes = entry.at("shape"), &offsets = entry.at("data_offsets");
      const auto known = std::find_if(file_types.begin(), file_types.end(), [&](const FileType& one) { return type == one.name; });
      if (known == file_types.end()) refuse(tensor + " is of unknown dtype " + shown(type, 20));
      Entry found{known->numpy ? known->numpy : known->name, {}, 0, 0};
      if (!sizes.is_array() || !offsets.is_array() || offsets.size() != 2) refuse(tensor + ": shape and data_offsets are no lists of sizes");
      // Elements first, as safetensors does: a size of 0 behind a large one is still no elements.
      uint64_t elements = 1, bits = 0;
      bool fits = true;
      for (const Json& size : sizes) {
        const auto along = number(size);
        if (!along) refuse(tensor + " has a size of " + shown(size, 40));
        found.shape.push_back(static_cast<int64_t>(*along));
        fits = fits && !__builtin_mul_overflow(elements, *along, &elements);
      }
      fits = fits && !__builtin_mul_overflow(elements, uint64_t{known->bits}, &bits);
      if (!fits) refuse(tensor + " has more elements than a file can hold");
      const auto begin = number(offsets[0]), end = number(offsets[1]);
      const uint64_t room = file_.size() - data_begin_;
      if (!begin || !end || *begin > *end || *end > room) {
        refuse(tensor + " lies at " + shown(offsets, 60) + " of " + std::to_string(room) + " bytes");
      }
      if (bits % 8) refuse(tensor + " ends within a byte");
      if (*end - *begin != bits / 8) {
        refuse(tensor + " has " + std::to_string(*end - *begin) + " bytes, its shape needs " + std::to_string(bits / 8));
      }
      found.begin = data_begin_ + *begin;
      found.end = data_begin_ + *end;
      entries_.emplace(name, std::move(found));
    }
    check_layout();
  } catch (const std::system_error& error) {
    throw bundle_error(where + ": can't read " + name_ + ": " + reason(error) + "; " + re_export);
  }
}

// No two tensors share bytes, and no byte belongs to nobody: such files show other things to other readers.
void SafetensorsFile::check_layout() const {
  std::vector<std::pair<uint64_t, uint64_t>> spans;
  for (const auto& [name, entry] : entries_) spans.emplace_back(entry.begin, entry.end);
  std::sort(spans.begin(), spans.end());
  uint64_t at = data_begin_;
  for (const auto& [begin, end] : spans) {
    if (begin != at) refuse("its tensors overlap or leave bytes between them");
    at = end;
  }
  if (at != file_.size()) refuse("it has bytes that belong to no tensor");
}

void SafetensorsFile::refuse(const std::string& what) const {
  throw bundle_error(where_ + ": " + name_ + " is no safetensors file: " + what + "; " + re_export);
}

Tensor SafetensorsFile::read(const std::string& name) const {
  const Entry& entry = entries_.at(name);
  const auto dtype = dtype_of(entry.dtype);
  if (!dtype) refuse("tensor " + shown(name) + " is " + entry.dtype + ", which no bundle holds");
  Tensor tensor(name, *dtype, entry.shape);
  const size_t bytes = entry.end - entry.begin;
  try {
    if (file_.read_at(entry.begin, tensor.buffer.data(), bytes) < bytes) refuse("it was cut while it was read");
  } catch (const std::system_error& error) {
    throw bundle_error(where_ + ": can't read " + name_ + ": " + reason(error) + "; " + re_export);
  }
  if (*dtype == ATTN_BOOL) {
    // Whoever is given such a byte as a bool may take it for true, for false, or for both.
    const auto* values = static_cast<const unsigned char*>(tensor.buffer.data());
    const auto* odd = std::find_if(values, values + bytes, [](unsigned char value) { return value > 1; });
    if (odd != values + bytes) {
      throw bundle_error(where_ + ": " + name_ + ": tensor " + shown(name) + " is bool and holds a byte " + std::to_string(*odd) +
                         ", expected 0 and 1 alone; " + re_export);
    }
  }
  return tensor;
}

Tensors read_tensors(const std::filesystem::path& path, const std::vector<TensorSpec>& specs, const std::map<std::string, int64_t>& sizes,
                     const std::string& where) {
  const SafetensorsFile file(path, where);
  const std::string name = path.filename().string();
  std::set<std::string> wanted;
  for (const TensorSpec& spec : specs) wanted.insert(spec.name);
  const std::vector<std::string> all(wanted.begin(), wanted.end());
  std::vector<std::string> lacks, unknown;
  for (const std::string& one : wanted) {
    if (!file.entries().count(one)) lacks.push_back(one);
  }
  for (const auto& [one, entry] : file.entries()) {
    if (!wanted.count(one)) unknown.push_back(one);
  }
  for (const auto& [problem, names] : {std::pair{" lacks ", &lacks}, std::pair{" has unknown ", &unknown}}) {
    if (names->empty()) continue;
    throw bundle_error(where + ": " + name + problem + shown(*names) + ", the graph has " + shown(all) + "; " + re_export);
  }
  for (const TensorSpec& spec : specs) {
    const auto& entry = file.entries().at(spec.name);
    if (entry.dtype == name_of(spec.dtype) && fits(entry.shape, spec, sizes)) continue;
    throw bundle_error(where + ": " + name + ": tensor " + shown(spec.name) + " is " + entry.dtype + " " + text(entry.shape) +
                       ", expected " + expected(spec, sizes) + "; " + re_export);
  }
  Tensors tensors;
  for (const TensorSpec& spec : specs) tensors.emplace(spec.name, file.read(spec.name));
  return tensors;
}

Tensors read_safetensors(const std::filesystem::path& path, const std::string& where) {
  const SafetensorsFile file(path, where);
  Tensors tensors;
  for (const auto& [name, entry] : file.entries()) tensors.emplace(name, file.read(name));
  return tensors;
}

}  // namespace attn
