#include "bundle/schema.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "bundle/manifest.h"
#include "bundle/patterns.h"
#include "util/unicode.h"

namespace attn {

extern const unsigned char manifest_schema_text[];  // written by the build, see cmake/EmbedSchema.cmake
extern const size_t manifest_schema_bytes;

namespace {

// Where a value lies in its document. Becomes text only when there is something to tell.
struct Place {
  enum Kind { top, item, member, key } kind = top;
  const Place* outer = nullptr;
  size_t index = 0;
  const std::string* name = nullptr;

  std::string text() const {
    const std::string at = outer ? outer->text() : "";
    switch (kind) {
      case top: return "";
      case item: return at + "[" + std::to_string(index) + "]";
      case member: {
        const bool plain = !name->empty() && name->size() <= 64 && std::all_of(name->begin(), name->end(), [](char c) {
          return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
        });
        if (!plain) return at + "[" + shown(*name) + "]";
        return at.empty() ? *name : at + "." + *name;
      }
      case key: return (at.empty() ? "top level" : at) + ", key";
    }
    return at;
  }
  std::string or_top() const {
    const std::string at = text();
    return at.empty() ? "top level" : at;
  }
};

using Problem = std::optional<std::string>;

Problem wrong(const Place& at, const Json& value, const std::string& expected) {
  return at.or_top() + ": got " + shown(value) + ", expected " + expected;
}

const Json* find(const Json& schema, const char* key) {
  const auto found = schema.find(key);
  return found == schema.end() ? nullptr : &*found;
}

bool is_type(const Json& value, const std::string& name) {
  if (name == "object") return value.is_object();
  if (name == "array") return value.is_array();
  if (name == "string") return value.is_string();
  if (name == "boolean") return value.is_boolean();
  if (name == "null") return value.is_null();
  if (name == "number") return value.is_number();
  if (value.is_number_float()) return std::trunc(value.get<double>()) == value.get<double>();  // "integer"
  return value.is_number();
}

// Below, at or above 0 as a < b, a == b or a > b: exactly, also where a double meets an integer that no double is.
int compare(const Json& a, const Json& b) {
  if (a.is_number_float() && b.is_number_float()) {
    return (a.get<double>() > b.get<double>()) - (a.get<double>() < b.get<double>());
  }
  if (a.is_number_float()) {
    const double real = a.get<double>();
    const auto whole = b.get<int64_t>();
    if (real >= 0x1p63) return 1;
    if (real < -0x1p63) return -1;
    const auto floor = static_cast<int64_t>(std::floor(real));
    if (floor != whole) return floor > whole ? 1 : -1;
    return real > std::floor(real) ? 1 : 0;
  }
  if (b.is_number_float()) return -compare(b, a);
  return (a.get<int64_t>() > b.get<int64_t>()) - (a.get<int64_t>() < b.get<int64_t>());
}

// "LEAST to MOST THINGS", where `size` is not between the two; none where it is.
Problem out_of_range(size_t size, const Json& schema, const char* least, const char* most, const char* things) {
  const Json *low = find(schema, least), *high = find(schema, most);
  if ((!low || size >= low->get<size_t>()) && (!high || size <= high->get<size_t>())) return std::nullopt;
  return (low ? low->dump() : "0") + " to " + (high ? high->dump() : "any number of") + " " + things;
}

// Recurses as deep as the schema is, not the value: the schema's definitions do not hold themselves.
class Finder {
 public:
  explicit Finder(const Json& root) : root_(root) {}

  Problem problem(const Json& value, const Json& schema, const Place& at) const {
    if (const Json* reference = find(schema, "$ref")) {
      constexpr size_t prefix = sizeof("#/$defs/") - 1;
      const Json& definition = root_.at("$defs").at(reference->get_ref<const std::string&>().substr(prefix));
      if (auto found = problem(value, definition, at)) return found;
    }
    if (const Json* type = find(schema, "type")) {
      const Json wanted = type->is_array() ? *type : Json::array({*type});
      std::string names;
      bool fits = false;
      for (const Json& name : wanted) {
        names += (names.empty() ? "" : " or ") + name.get<std::string>();
        fits = fits || is_type(value, name.get_ref<const std::string&>());
      }
      if (!fits) return wrong(at, value, names);
    }
    if (const Json* constant = find(schema, "const"); constant && value != *constant) return wrong(at, value, shown(*constant));
    if (const Json* choices = find(schema, "enum"); choices && std::find(choices->begin(), choices->end(), value) == choices->end()) {
      std::string names;
      for (const Json& choice : *choices) names += (names.empty() ? "" : ", ") + shown(choice);
      return wrong(at, value, "one of " + names);
    }
    if (value.is_number()) return in_number(value, schema, at);
    if (value.is_string()) return in_string(value, schema, at);
    if (value.is_array()) return in_array(value, schema, at);
    if (value.is_object()) return in_object(value, schema, at);
    return std::nullopt;
  }

 private:
  static Problem in_number(const Json& value, const Json& schema, const Place& at) {
    if (const Json* least = find(schema, "minimum"); least && compare(value, *least) < 0) {
      return wrong(at, value, "at least " + least->dump());
    }
    if (const Json* most = find(schema, "maximum"); most && compare(value, *most) > 0) {
      return wrong(at, value, "at most " + most->dump());
    }
    if (const Json* below = find(schema, "exclusiveMinimum"); below && compare(value, *below) <= 0) {
      return wrong(at, value, "more than " + below->dump());
    }
    return std::nullopt;
  }

  static Problem in_string(const Json& value, const Json& schema, const Place& at) {
    const std::u32string text = code_points(value.get_ref<const std::string&>());
    if (auto range = out_of_range(text.size(), schema, "minLength", "maxLength", "characters")) return wrong(at, value, *range);
    const Json* pattern = find(schema, "pattern");
    const PatternCheck fits = pattern ? check_of_pattern(pattern->get_ref<const std::string&>()) : nullptr;
    if (pattern && !fits) throw std::logic_error("the schema has a pattern that is not known here: " + pattern->dump());
    if (fits && !fits(text)) {
      const Json* description = find(schema, "description");
      return wrong(at, value, description ? description->get<std::string>() : "a match of " + pattern->get<std::string>());
    }
    return std::nullopt;
  }

  Problem in_array(const Json& value, const Json& schema, const Place& at) const {
    if (auto range = out_of_range(value.size(), schema, "minItems", "maxItems", "items")) return wrong(at, value, *range);
    if (const Json* items = find(schema, "items")) {
      for (size_t index = 0; index < value.size(); ++index) {
        if (auto found = problem(value[index], *items, {Place::item, &at, index})) return found;
      }
    }
    return std::nullopt;
  }

  Problem in_object(const Json& value, const Json& schema, const Place& at) const {
    if (auto range = out_of_range(value.size(), schema, "minProperties", "maxProperties", "keys")) return wrong(at, value, *range);
    if (const Json* required = find(schema, "required")) {
      for (const Json& key : *required) {
        if (!value.contains(key.get_ref<const std::string&>())) return at.or_top() + ": key " + shown(key) + " is missing";
      }
    }
    static const Json nothing = Json::object();
    const Json* properties = find(schema, "properties");
    const Json& known = properties ? *properties : nothing;
    const Json* extra = find(schema, "additionalProperties");
    const Json* names = find(schema, "propertyNames");
    for (const auto& [key, item] : value.get_ref<const Json::object_t&>()) {
      if (names) {
        if (auto found = problem(key, *names, {Place::key, &at})) return found;
      }
      const auto rule = known.find(key);
      if (rule == known.end() && extra && *extra == false) {
        std::string expected;
        for (const auto& [name, ignored] : known.items()) expected += (expected.empty() ? "" : ", ") + name;
        return at.or_top() + ": unknown key " + shown(key) + ", expected " + expected;
      }
      const Json* inner = rule != known.end() ? &*rule : extra;
      if (inner && inner->is_object()) {
        if (auto found = problem(item, *inner, {Place::member, &at, 0, &key})) return found;
      }
    }
    return std::nullopt;
  }

  const Json& root_;
};

}  // namespace

const Json& manifest_schema() {
  static const Json schema = parse_json({reinterpret_cast<const char*>(manifest_schema_text), manifest_schema_bytes}, "manifest.schema.json");
  return schema;
}

std::string manifest_rules() { return std::string(ATTN_VERSION) + " " + std::to_string(manifest_schema_bytes); }

std::optional<std::string> find_problem(const Json& value, const Json& schema, const Json& root) {
  return Finder(root).problem(value, schema, {});
}

}  // namespace attn
