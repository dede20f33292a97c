#include "format/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "util/error.h"
#include "util/files.h"

namespace attn {
namespace {

constexpr const char* json_advice = "re-export the bundle or restore the file";

// A number that is written without point and exponent.
bool is_whole(std::string_view text) { return text.find_first_of(".eE") == text.npos; }

// The first key that was there before, in the order of the file; nullptr where there is none.
const std::string* twin(const Json::object_t& object) {
  std::vector<const std::string*> keys;
  keys.reserve(object.size());
  for (const auto& [key, value] : object) keys.push_back(&key);
  // Stable: equal keys stay in the file's order. A hash table would be at the mercy of whoever chose the keys.
  std::stable_sort(keys.begin(), keys.end(), [](auto* a, auto* b) { return *a < *b; });
  const std::string* first = nullptr;
  for (size_t i = 1; i < keys.size(); ++i) {
    if (*keys[i] == *keys[i - 1] && (!first || keys[i] < first)) first = keys[i];
  }
  return first;
}

// Builds the value, and refuses what nlohmann's own builder takes: it keeps the last of two equal keys (in an ordered object after
// comparing each with all before it), turns long integers into doubles, and nests without bound.
class Builder : public nlohmann::json_sax<Json> {
 public:
  Builder(std::string_view data, const std::string& where) : data_(data), where_(where) {}

  Json take() { return std::move(root_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > INT64_MAX) refuse_integer(std::to_string(value));
    return add(static_cast<int64_t>(value));
  }
  bool number_float(number_float_t value, const string_t& text) override {
    if (is_whole(text)) refuse_integer(text);
    if (std::trunc(value) == value && std::abs(value) < 0x1p53) return add(static_cast<int64_t>(value));
    return add(value);
  }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return false; }  // of other formats than JSON

  bool start_object(size_t) override { return open(Json::object()); }
  bool key(string_t& key) override {
    auto& object = open_.back()->get_ref<Json::object_t&>();
    object.Json::object_t::Container::emplace_back(std::move(key), nullptr);
    return true;
  }
  bool end_object() override {
    if (auto* key = twin(open_.back()->get_ref<const Json::object_t&>())) {
      refuse("key " + shown(*key) + " occurs twice in one object");
    }
    open_.pop_back();
    return true;
  }
  bool start_array(size_t) override { return open(Json::array()); }
  bool end_array() override {
    open_.pop_back();
    return true;
  }

  bool parse_error(size_t position, const std::string& token, const nlohmann::detail::exception& error) override {
    // `position` is that behind the byte at fault, counted from 1.
    const size_t at = std::min(position ? position - 1 : 0, data_.size());
    for (std::string_view constant : {"NaN", "Infinity", "-Infinity"}) {
      const size_t sign = constant[0] == '-' ? 1 : 0;
      if (at >= sign && data_.substr(at - sign, constant.size()) == constant && (sign || !at || data_[at - 1] != '-')) {
        refuse(std::string(constant) + " is no JSON number, expected a finite one or null");
      }
    }
    const std::string_view what = error.what();
    if (error.id == 406) {
      if (is_whole(token)) refuse_integer(token);
      refuse("number " + shown(token, 40) + " is out of range, expected a finite double");
    }
    if (what.find("string: surrogate U+") != what.npos) {
      throw bundle_error(where_ + " is not UTF-8: surrogates not allowed; " + json_advice);
    }
    // "[...] parse error at line 1, column 2: syntax error while parsing value - REASON; last read: 'bytes of the file'; expected ..."
    const size_t dash = what.find(" - ");
    const std::string_view reason = dash == what.npos ? "syntax error" : what.substr(dash + 3);
    syntax_error(at, std::string(reason.substr(0, reason.find("; last read: "))));  // what comes behind it, the file may have made up
  }

  [[noreturn]] void syntax_error(size_t at, const std::string& reason) const {
    const std::string_view before = data_.substr(0, at);
    const size_t line = 1 + static_cast<size_t>(std::count(before.begin(), before.end(), '\n'));
    const size_t begin = before.rfind('\n') + 1;  // npos + 1 == 0
    // Columns are characters, and a byte 10xxxxxx goes on with one.
    const auto column = 1 + std::count_if(before.begin() + static_cast<std::ptrdiff_t>(begin), before.end(),
                                          [](char c) { return (c & 0xC0) != 0x80; });
    throw bundle_error(where_ + " is not JSON: " + reason + " at line " + std::to_string(line) + " column " +
                       std::to_string(column) + "; " + json_advice);
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const { throw bundle_error(where_ + ": " + what + "; " + json_advice); }
  [[noreturn]] void refuse_integer(const std::string& text) const {
    refuse("integer " + shown(text, 40) + " is out of range, expected 64 bits");
  }

  Json* put(Json&& value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& outer = *open_.back();
    if (outer.is_array()) {
      auto& array = outer.get_ref<Json::array_t&>();
      array.push_back(std::move(value));
      return &array.back();
    }
    Json& place = outer.get_ref<Json::object_t&>().back().second;
    place = std::move(value);
    return &place;
  }
  bool add(Json&& value) {
    put(std::move(value));
    return true;
  }
  bool open(Json&& value) {
    if (open_.size() >= max_json_depth) throw bundle_error(where_ + " is nested too deeply; " + json_advice);
    // What holds it does not grow while it is open, so its address stays.
    open_.push_back(put(std::move(value)));
    return true;
  }

  std::string_view data_;
  const std::string& where_;
  Json root_;
  std::vector<Json*> open_;
};

void write_string(std::string_view text, std::string& out) {
  out += '"';
  const auto escape = [&](unsigned unit) {
    out += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) out += "0123456789abcdef"[unit >> shift & 15];
  };
  for (const char32_t c : code_points(text)) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      default:
        if (c >= ' ' && c <= '~') {
          out += static_cast<char>(c);
        } else if (c < 0x10000) {
          escape(static_cast<unsigned>(c));
        } else {
          escape(static_cast<unsigned>(0xD800 + ((c - 0x10000) >> 10)));
          escape(static_cast<unsigned>(0xDC00 + ((c - 0x10000) & 0x3FF)));
        }
    }
  }
  out += '"';
}

// The fewest digits that read back as the same, with an exponent where Python's repr has one.
void write_double(double value, std::string& out) {
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  std::string_view text(buffer, static_cast<size_t>(end - buffer));
  const size_t e = text.find('e');
  int exponent = 0;
  std::from_chars(text.data() + e + (text[e + 1] == '+' ? 2 : 1), end, exponent);
  if (exponent < -4 || exponent >= 16) {
    out += text;
    return;
  }
  if (text[0] == '-') out += '-';
  std::string digits;
  for (const char c : text.substr(0, e)) {
    if (c >= '0' && c <= '9') digits += c;
  }
  if (exponent < 0) {
    out += "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
    return;
  }
  const auto whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) digits.resize(whole + 1, '0');
  out += digits.substr(0, whole) + "." + digits.substr(whole);
}

// As Python's json.dumps writes it. As deep as the value is: parse_json bounds that.
void write(const Json& value, std::string& out) {
  if (value.is_string()) {
    write_string(value.get_ref<const std::string&>(), out);
  } else if (value.is_array()) {
    out += '[';
    for (size_t i = 0; i < value.size(); ++i) {
      if (i) out += ", ";
      write(value[i], out);
    }
    out += ']';
  } else if (value.is_object()) {
    out += '{';
    bool first = true;
    for (const auto& [key, item] : value.get_ref<const Json::object_t&>()) {
      if (!first) out += ", ";
      first = false;
      write_string(key, out);
      out += ": ";
      write(item, out);
    }
    out += '}';
  } else if (value.is_number_float()) {
    write_double(value.get<double>(), out);
  } else {
    out += value.dump();
  }
}

}  // namespace

Json parse_json(std::string_view data, const std::string& where) {
  if (const char* problem = utf8_problem(data)) {
    throw bundle_error(where + " is not UTF-8: " + problem + "; " + json_advice);
  }
  Builder builder(data, where);
  if (data.substr(0, 3) == "\xEF\xBB\xBF") builder.syntax_error(0, "unexpected byte order mark");
  // nlohmann's lexer takes a NUL for the end of its input, and what follows would go unread.
  if (const size_t nul = data.find('\0'); nul != data.npos) builder.syntax_error(nul, "unexpected NUL");
  Json::sax_parse(data.begin(), data.end(), &builder);
  return builder.take();
}

std::string read_text(const std::filesystem::path& path, const std::string& where, size_t limit) {
  const std::string name = path.filename().string();
  try {
    const File file(path);
    if (!file.regular()) throw bundle_error(where + ": " + name + " is not a regular file; re-export the bundle");
    // One byte more than is allowed, whatever the file claims to hold.
    std::string data(std::min<uint64_t>(file.size(), limit) + 1, '\0');
    data.resize(file.read_at(0, data.data(), data.size()));
    if (data.size() > limit || file.size() > limit) {
      throw bundle_error(where + ": " + name + " is larger than " + std::to_string(limit) +
                         " bytes, the most a reader accepts; re-export the bundle");
    }
    return data;
  } catch (const std::system_error& error) {
    if (error.code() == std::errc::no_such_file_or_directory) {
      throw bundle_error(where + ": " + name + " is missing; re-export the bundle or restore the file");
    }
    throw bundle_error(where + ": can't read " + name + ": " + error.code().message() + "; check its permissions");
  }
}

Json read_json(const std::filesystem::path& path, const std::string& where) {
  return parse_json(read_text(path, where), where + ": " + path.filename().string());
}

std::string shown(const Json& value, size_t limit) {
  std::string text;
  write(value, text);
  if (text.size() <= limit) return text;
  return text.substr(0, limit) + "... (" + std::to_string(text.size()) + " characters)";
}

std::string shown(const std::vector<std::string>& values) { return shown(Json(values)); }

const char* utf8_problem(std::string_view text) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  for (size_t i = 0; i < text.size();) {
    const unsigned lead = at(i);
    const size_t length = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
    if (!length) return "invalid start byte";
    for (size_t k = 1; k < length; ++k) {
      if (i + k >= text.size()) return "unexpected end of data";
      unsigned low = 0x80, high = 0xBF;
      if (k == 1) {  // no overlong form, no surrogate, nothing beyond U+10FFFF
        if (lead == 0xE0) low = 0xA0;
        if (lead == 0xED) high = 0x9F;
        if (lead == 0xF0) low = 0x90;
        if (lead == 0xF4) high = 0x8F;
      }
      if (at(i + k) < low || at(i + k) > high) return "invalid continuation byte";
    }
    i += length;
  }
  return nullptr;
}

std::u32string code_points(std::string_view text) {
  std::u32string found;
  found.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    char32_t c = length == 1 ? lead : lead & (0x7Fu >> length);
    for (size_t k = 1; k < length && i + k < text.size(); ++k) {
      c = (c << 6) | (static_cast<unsigned char>(text[i + k]) & 0x3Fu);
    }
    found += c;
    i += length;
  }
  return found;
}

}  // namespace attn
