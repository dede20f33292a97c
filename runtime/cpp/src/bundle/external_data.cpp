#include "bundle/external_data.h"

#include <algorithm>
#include <set>

#include "bundle/onnx_file.h"
#include "util/error.h"
#include "util/files.h"
#include "util/text.h"
#include "util/unicode.h"

namespace attn {
namespace fs = std::filesystem;

namespace {

enum Kind { model, graph, function, node, attribute, sparse, tensor, entry };

// Field numbers of onnx.proto3: the kind of what a field holds, for those worth entering.
struct Child {
  Kind of;
  uint64_t field;
  Kind kind;
};
constexpr Child children[] = {
    {model, 7, graph},     {model, 25, function},     {graph, 1, node},          {graph, 5, tensor},       {graph, 15, sparse},
    {function, 7, node},   {function, 11, attribute}, {node, 5, attribute},      {attribute, 5, tensor},   {attribute, 6, graph},
    {attribute, 10, tensor}, {attribute, 11, graph},  {attribute, 22, sparse},   {attribute, 23, sparse},  {sparse, 1, tensor},
    {sparse, 2, tensor},   {tensor, 13, entry},
};

struct Part {
  Kind kind;
  uint64_t begin, end;
};

std::vector<std::string> locations(WireFile& file) {
  std::vector<std::string> found;
  std::set<std::string> known;
  // A stack, not recursion: a hostile file may nest graphs as deep as it likes.
  std::vector<Part> pending{{model, 0, file.size()}};
  while (!pending.empty()) {
    const Part part = pending.back();
    pending.pop_back();
    if (part.kind == entry) {
      Part key{entry, 0, 0}, value{entry, 0, 0};  // the last one counts, as protobuf has it
      file.messages(part.begin, part.end, [&](uint64_t number, uint64_t begin, uint64_t end) {
        if (number == 1) key = {entry, begin, end};
        if (number == 2) value = {entry, begin, end};
      });
      if (key.end - key.begin != 8 || file.bytes(key.begin, key.end) != "location") continue;
      const std::string location = file.bytes(value.begin, value.end);
      if (!is_utf8(location)) throw BrokenMessage("a location that is not UTF-8");
      if (known.insert(location).second) found.push_back(location);
      continue;
    }
    file.messages(part.begin, part.end, [&](uint64_t number, uint64_t begin, uint64_t end) {
      for (const Child& child : children) {
        if (child.of == part.kind && child.field == number) pending.push_back({child.kind, begin, end});
      }
    });
  }
  return found;
}

// Raises bundle_error unless `location` is an existing file inside `folder`.
fs::path target_of(const std::string& location, const fs::path& folder, const std::string& file, const std::string& where) {
  const std::string keeps = where + ": " + file + " keeps a tensor in " + shown(location);
  const auto no_name = [&] { return bundle_error(keeps + ", which no file can be called. Export it again."); };
  if (location.find('\0') != location.npos) throw no_name();
  fs::path target;
  fs::file_status status;
  try {
    target = resolve(folder / location);
    status = fs::status(target);
  } catch (const std::system_error&) {
    throw no_name();
  }
  if (fs::path(location).is_absolute() || !lies_in(target, folder)) {
    const fs::path named(location);
    const bool linked = !named.is_absolute() && std::find(named.begin(), named.end(), "..") == named.end();
    throw bundle_error(keeps + ", outside its own folder. Not opened: a model reads no files but its own." +
                       (linked ? " If you trust it: " + copy_command(folder) + ", and take the copy." : ""));
  }
  if (!fs::is_regular_file(status)) throw bundle_error(keeps + ", which is not there. Copy it next to " + file + ".");
  return target;
}

}  // namespace

std::vector<fs::path> check_external_data(const fs::path& file, const std::string& where) {
  const std::string name = file.filename().string();
  const std::vector<std::string> named = read_onnx_file(file, where, locations);
  const fs::path folder = resolve(file.parent_path());
  std::vector<fs::path> found;
  for (const std::string& location : named) {
    const fs::path target = target_of(location, folder, name, where);
    if (std::find(found.begin(), found.end(), target) == found.end()) found.push_back(target);
  }
  return found;
}

}  // namespace attn
