#include <algorithm>

#include "tokenizer/parts.h"
#include "util/error.h"

namespace attn {

void refuse_tokenizer(const std::string& where, const std::string& problem) {
  throw bundle_error(where + ": asset tokenizer: " + problem + " (in C++). Give tokens, or use attn-run");
}

TokenizerPart::TokenizerPart(const Json& value, std::string what, const std::string& where, const char* type)
    : value_(value), what_(std::move(what)), where_(where) {
  if (!value_.is_object()) refuse("got " + shown(value_) + ", expected an object");
  type_ = type && !find("type") ? type : text("type");
}

const Json* TokenizerPart::find(const char* key) {
  asked_.emplace_back(key);
  const auto found = value_.find(key);
  return found == value_.end() || found->is_null() ? nullptr : &*found;
}

std::string TokenizerPart::text(const char* key) {
  const Json* found = find(key);
  if (!found || !found->is_string()) refuse(std::string(key) + " is " + (found ? shown(*found) : "missing") + ", expected a text");
  return found->get<std::string>();
}

char32_t TokenizerPart::character(const char* key) {
  const std::u32string found = code_points(text(key));
  if (found.size() != 1) refuse(std::string(key) + " is " + shown(to_utf8(found)) + ", expected one character");
  return found[0];
}

bool TokenizerPart::flag(const char* key) {
  const Json* found = find(key);
  if (!found || !found->is_boolean()) {
    refuse(std::string(key) + " is " + (found ? shown(*found) : "missing") + ", expected true or false");
  }
  return found->get<bool>();
}

bool TokenizerPart::flag(const char* key, bool otherwise) { return find(key) ? flag(key) : otherwise; }

int64_t TokenizerPart::count(const char* key) {
  const Json* found = find(key);
  if (!found || !found->is_number_integer() || found->get<int64_t>() < 0) {
    refuse(std::string(key) + " is " + (found ? shown(*found) : "missing") + ", expected a whole number, 0 or more");
  }
  return found->get<int64_t>();
}

const Json& TokenizerPart::list(const char* key) {
  const Json* found = find(key);
  if (!found || !found->is_array()) refuse(std::string(key) + " is " + (found ? shown(*found) : "missing") + ", expected a list");
  return *found;
}

std::u32string TokenizerPart::pattern() {
  const Json* found = find("pattern");
  if (!found || !found->is_object() || found->size() != 1 || !found->contains("String") || !found->at("String").is_string()) {
    refuse("the pattern " + (found ? shown(*found) : std::string("null")) + R"( is not supported; it knows {"String": TEXT})");
  }
  std::u32string wanted = code_points(found->at("String").get<std::string>());
  if (wanted.empty()) refuse("an empty pattern is not supported");
  return wanted;
}

void TokenizerPart::expect_no_more() const {
  for (const auto& [key, ignored] : value_.items()) {
    if (std::find(asked_.begin(), asked_.end(), key) == asked_.end()) refuse("its " + shown(key) + " is not supported");
  }
}

void TokenizerPart::refuse(const std::string& problem) const {
  refuse_tokenizer(where_, what_ + (type_.empty() ? "" : " " + printable(type_, 40)) + ": " + problem);
}

void TokenizerPart::refuse_type(const std::string& known) const { refuse("is not supported; supported are " + known); }

}  // namespace attn
