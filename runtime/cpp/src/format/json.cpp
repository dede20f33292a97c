#include "format/json.h"

#include <algorithm>
#include <cmath>

#include "util/error.h"
#include "util/files.h"
#include "util/unicode.h"

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
    if (error.id == 406) {
      if (is_whole(token)) refuse_integer(token);
      refuse("number " + shown(token, 40) + " is out of range, expected a finite double");
    }
    // "[...] parse error at line 1, column 2: syntax error while parsing value - REASON; last read: 'bytes of the file'; expected ..."
    const std::string_view what = error.what();
    const size_t dash = what.find(" - ");
    const std::string_view reason = dash == what.npos ? "syntax error" : what.substr(dash + 3);
    // What comes behind it, the file may have made up. `position` is that behind the byte at fault, counted from 1.
    syntax_error(position ? position - 1 : 0, std::string(reason.substr(0, reason.find("; last read: "))));
  }

  [[noreturn]] void syntax_error(size_t at, const std::string& reason) const {
    const auto end = data_.begin() + static_cast<std::ptrdiff_t>(std::min(at, data_.size()));
    throw bundle_error(where_ + " is not JSON: " + reason + " at line " + std::to_string(1 + std::count(data_.begin(), end, '\n')) + "; " +
                       json_advice);
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

}  // namespace

Json parse_json(std::string_view data, const std::string& where) {
  if (!is_utf8(data)) throw bundle_error(where + " is not UTF-8; " + json_advice);
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

std::string shown(const Json& value, size_t limit) { return cut(value.dump(-1, ' ', true, Json::error_handler_t::replace), limit); }

}  // namespace attn
