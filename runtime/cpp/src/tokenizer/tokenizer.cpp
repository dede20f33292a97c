#include "tokenizer/tokenizer.h"

#include <algorithm>
#include <utility>

#include "util/error.h"

namespace attn {
namespace {

// Most that a tokenizer's replacements may lengthen a text: nine of "a" by twenty letters each would fill any memory.
constexpr double most_growth = 4096;

// How many times as long the replacements in a tokenizer, one after the other, may make a text.
double growth(const Json& value) {
  double found = 1;
  if (value.is_object()) {
    const auto type = value.find("type");
    const auto content = value.find("content");
    if (type != value.end() && *type == "Replace" && content != value.end() && content->is_string()) {
      found = std::max(1.0, static_cast<double>(code_points(content->get_ref<const std::string&>()).size()));
    }
  }
  if (value.is_structured()) {
    for (const Json& part : value) found *= growth(part);
  }
  return found;
}

const Json& member(const Json& whole, const char* key) {
  static const Json nothing;
  const auto found = whole.find(key);
  return found == whole.end() ? nothing : *found;
}

}  // namespace

Tokenizer::Tokenizer(const Json& value, const std::string& where) : where_(where) {
  if (!value.is_object()) refuse("got " + shown(value) + ", expected an object");
  if (growth(value) > most_growth) {
    throw bundle_error(where_ + ": asset tokenizer: its replacements may make a text more than 4096 times as long; re-export the bundle");
  }
  static const std::set<std::string> known = {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                                              "post_processor", "decoder", "model"};
  for (const auto& [key, ignored] : value.items()) {
    if (!known.count(key)) refuse("its " + shown(key) + " is not supported");
  }
  // Truncation and padding mean nothing here: a text that is too long is refused, not cut, and padding is for the batch at hand.
  for (const char* key : {"truncation", "padding"}) {
    const Json& part = member(value, key);
    if (!part.is_null() && !part.is_object()) refuse(std::string(key) + " is " + shown(part) + ", expected an object");
  }
  if (member(value, "version") != "1.0") refuse("is of version " + shown(member(value, "version")) + R"(, "1.0" is supported)");
  if (const Json& processor = member(value, "post_processor"); !processor.is_null()) {
    refuse("a post_processor is not supported: " + shown(processor));
  }
  read_model(value);
  read_added(value);
  normalizer_ = read_normalizer(member(value, "normalizer"), where_);
  pre_tokenizer_ = read_pre_tokenizer(member(value, "pre_tokenizer"), where_);
  decoder_ = read_decoder(member(value, "decoder"), where_);
}

void Tokenizer::read_model(const Json& whole) {
  TokenizerPart part(member(whole, "model"), "model", where_);
  if (part.type() != "WordLevel") part.refuse_type("WordLevel");
  unknown_ = part.text("unk_token");
  const Json* vocabulary = part.find("vocab");
  if (!vocabulary || !vocabulary->is_object()) part.refuse("has no vocab, expected words and their tokens");
  part.expect_no_more();
  for (const auto& [word, token] : vocabulary->items()) {
    if (!token.is_number_integer() || token.get<int64_t>() < 0 || token.get<int64_t>() > UINT32_MAX) {
      part.refuse("the token of " + shown(word) + " is " + shown(token) + ", expected a whole number, 0 or more");
    }
    tokens_.emplace(word, token.get<int64_t>());
    const auto [twin, added] = words_.emplace(token.get<int64_t>(), word);
    if (!added) part.refuse("the words " + shown(twin->second) + " and " + shown(word) + " have one token");
  }
}

void Tokenizer::read_added(const Json& whole) {
  const Json& list = member(whole, "added_tokens");
  if (list.is_null()) return;
  if (!list.is_array()) refuse("added_tokens is " + shown(list) + ", expected a list");
  for (const Json& each : list) {
    const Json& content = each.is_object() ? member(each, "content") : each;
    if (!content.is_string() || content.get_ref<const std::string&>().empty()) refuse("an added token is " + shown(each));
    const std::string& word = content.get_ref<const std::string&>();
    const auto token = tokens_.find(word);
    if (token == tokens_.end() || member(each, "id") != token->second) {
      refuse("the added token " + shown(word) + " is not in the model's vocab with that id, which is not supported");
    }
    for (const char* key : {"single_word", "lstrip", "rstrip", "normalized"}) {
      if (member(each, key) != false) {
        refuse("the added token " + shown(word) + " has " + key + " " + shown(member(each, key)) + ", only false is supported");
      }
    }
    if (!member(each, "special").is_boolean()) refuse("the added token " + shown(word) + " does not say whether it is special");
    if (member(each, "special").get<bool>()) special_.insert(token->second);
    std::u32string letters = code_points(word);
    const char32_t first = letters.front();
    added_[first].emplace_back(std::move(letters), token->second);
  }
  for (auto& [first, words] : added_) {
    std::stable_sort(words.begin(), words.end(), [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
  }
}

std::vector<Tokenizer::Found> Tokenizer::encode(const std::u32string& text) const {
  std::vector<Found> found;
  const Characters whole = characters(text);
  size_t begin = 0;  // of what is not tokenized yet
  for (size_t at = 0; at < text.size();) {
    const auto beginning = added_.find(text[at]);
    if (beginning == added_.end()) {
      ++at;
      continue;
    }
    const auto& words = beginning->second;
    const auto hit = std::find_if(words.begin(), words.end(),
                                  [&](const auto& each) { return text.compare(at, each.first.size(), each.first) == 0; });
    if (hit == words.end()) {
      ++at;
      continue;
    }
    add_words({whole.begin() + static_cast<std::ptrdiff_t>(begin), whole.begin() + static_cast<std::ptrdiff_t>(at)}, found);
    found.push_back({hit->second, at, at + hit->first.size()});
    begin = at += hit->first.size();
  }
  add_words({whole.begin() + static_cast<std::ptrdiff_t>(begin), whole.end()}, found);
  return found;
}

void Tokenizer::add_words(Characters text, std::vector<Found>& found) const {
  if (text.empty()) return;
  if (normalizer_) normalizer_->apply(text);
  std::vector<Characters> pieces;
  if (pre_tokenizer_) {
    pieces = pre_tokenizer_->split(std::move(text));
  } else {
    pieces.push_back(std::move(text));
  }
  for (const Characters& piece : pieces) {
    if (piece.empty()) continue;
    std::string word;
    for (const Character& each : piece) append_utf8(word, each.value);
    auto token = tokens_.find(word);
    if (token == tokens_.end()) token = tokens_.find(unknown_);
    if (token == tokens_.end()) throw bundle_error("WordLevel error: Missing [UNK] token from the vocabulary");
    found.push_back({token->second, piece.front().begin, piece.back().end});
  }
}

std::string Tokenizer::decode(const std::vector<int64_t>& tokens) const {
  std::vector<std::string> words = words_of(tokens);
  if (decoder_) decoder_->apply(words);
  return put_together(words);
}

std::string Tokenizer::decode_beginning(const std::vector<int64_t>& tokens) const {
  std::vector<std::string> words = words_of(tokens);
  bool fused = false;
  if (decoder_) decoder_->apply_to_beginning(words, fused);
  return put_together(words);
}

std::vector<std::string> Tokenizer::words_of(const std::vector<int64_t>& tokens) const {
  std::vector<std::string> words;
  for (const int64_t token : tokens) {
    const auto word = words_.find(token);
    if (word != words_.end() && !special_.count(token)) words.push_back(word->second);
  }
  return words;
}

std::string Tokenizer::put_together(const std::vector<std::string>& words) const {
  std::string text;
  for (size_t i = 0; i < words.size(); ++i) text.append(i && !decoder_ ? " " : "").append(words[i]);
  return text;
}

void Tokenizer::refuse(const std::string& problem) const {
  throw bundle_error(where_ + ": asset tokenizer: " + problem + " (in C++). Give tokens, or use attn-run");
}

}  // namespace attn
