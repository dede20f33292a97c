#include "tokenizer/text_pattern.h"

#include <utility>

namespace attn {

TextPattern TextPattern::read(TokenizerPart& part) {
  const Json* found = part.find("pattern");
  const auto member = [&](const char* key) -> const std::string* {
    if (!found || !found->is_object() || found->size() != 1 || !found->contains(key) || !found->at(key).is_string()) return nullptr;
    return &found->at(key).get_ref<const std::string&>();
  };
  if (const std::string* text = member("String")) {
    if (text->empty()) part.refuse("an empty pattern is not supported");
    return TextPattern(code_points(*text));
  }
  const std::string* pattern = member("Regex");
  if (!pattern) {
    part.refuse("the pattern " + (found ? shown(*found) : std::string("null")) +
                R"( is not supported; it knows {"String": TEXT} and {"Regex": PATTERN})");
  }
  try {
    return TextPattern(Regex(code_points(*pattern)));
  } catch (const PatternError& error) {
    part.refuse("the pattern " + shown(*pattern) + " " + error.what());
  }
}

std::vector<Regex::Match> TextPattern::find_all(const Characters& text) const {
  std::u32string plain;
  plain.reserve(text.size());
  for (const Character& each : text) plain += each.value;
  return find_all(plain);
}

std::vector<Regex::Match> TextPattern::find_all(const std::u32string& text) const {
  if (regex_) return regex_->find_all(text);
  std::vector<Regex::Match> found;
  for (size_t at = 0; (at = text.find(wanted_, at)) != std::u32string::npos; at += wanted_.size()) {
    found.push_back({at, at + wanted_.size()});
  }
  return found;
}

}  // namespace attn
