#include "tokenizer/tokenizer.h"

#include <algorithm>
#include <set>
#include <utility>

#include "tokenizer/model_reader.h"
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

Characters part_of(const Characters& text, const AddedTokens::Piece& piece) {
  return {text.begin() + static_cast<std::ptrdiff_t>(piece.begin), text.begin() + static_cast<std::ptrdiff_t>(piece.end)};
}

}  // namespace

Tokenizer::Tokenizer(const Json& value, const std::string& where) : where_(where) {
  if (!value.is_object()) refuse("got " + shown(value) + ", expected an object");
  double whole = 1;
  for (const char* key : {"normalizer", "pre_tokenizer", "decoder"}) whole *= growth(member(value, key));
  if (whole > most_growth) {
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
  model_ = read_model(member(value, "model"), where_);
  normalizer_ = read_normalizer(member(value, "normalizer"), where_);
  added_ = AddedTokens(member(value, "added_tokens"), model_->vocabulary(), normalizer_.get(), where_);
  pre_tokenizer_ = read_pre_tokenizer(member(value, "pre_tokenizer"), where_);
  post_processor_ = read_post_processor(member(value, "post_processor"), where_);
  decoder_ = read_decoder(member(value, "decoder"), where_);
}

Tokenizer::Encoded Tokenizer::encode(const std::u32string& text, const std::u32string* second) const {
  if (second && !post_processor_.pair) {
    refuse("post_processor: its template for a pair has not the sequences A and B once each, and a pair of texts was given");
  }
  using Kind = PostProcessor::Part::Kind;
  Encoded made;
  for (const auto& [kind, type, tokens] : second ? *post_processor_.pair : post_processor_.single) {
    std::vector<Found> found;
    if (kind == Kind::tokens) {
      for (const int64_t token : tokens) found.push_back({token, 0, 0});
    } else {
      found = words_of(kind == Kind::first ? text : *second);
    }
    made.tokens.insert(made.tokens.end(), found.begin(), found.end());
    made.types.insert(made.types.end(), found.size(), type);
  }
  return made;
}

std::vector<Found> Tokenizer::words_of(const std::u32string& text) const {
  std::vector<Found> found;
  const Characters given = characters(text);
  const auto add = [&](const Characters& from, const AddedTokens::Piece& piece) {
    found.push_back({piece.token, from[piece.begin].begin, from[piece.end - 1].end});
  };
  for (const AddedTokens::Piece& piece : added_.cut(given, false)) {
    if (piece.token >= 0) {
      add(given, piece);
      continue;
    }
    Characters part = part_of(given, piece);
    if (normalizer_) normalizer_->apply(part);
    for (const AddedTokens::Piece& smaller : added_.cut(part, true)) {
      if (smaller.token >= 0) {
        add(part, smaller);
      } else {
        add_words(part_of(part, smaller), found);
      }
    }
  }
  return found;
}

void Tokenizer::add_words(Characters text, std::vector<Found>& found) const {
  std::vector<Characters> pieces;
  if (pre_tokenizer_) {
    pieces = pre_tokenizer_->split(std::move(text));
  } else {
    pieces.push_back(std::move(text));
  }
  for (const Characters& piece : pieces) {
    if (!piece.empty()) model_->encode(piece, found);
  }
}

std::string Tokenizer::decode(const std::vector<int64_t>& tokens) const {
  std::vector<std::string> words = words_of(tokens);
  if (decoder_) decoder_->apply(words);
  return put_together(words);
}

std::string Tokenizer::decode_beginning(const std::vector<int64_t>& tokens) const {
  std::vector<std::string> words = words_of(tokens);
  auto beginning = Decoder::Beginning::words;
  if (decoder_) decoder_->apply_to_beginning(words, beginning);
  return put_together(words);
}

std::vector<std::string> Tokenizer::words_of(const std::vector<int64_t>& tokens) const {
  std::vector<std::string> words;
  const Vocabulary& vocabulary = model_->vocabulary();
  for (const int64_t token : tokens) {
    std::string word;
    if (const std::string* added = added_.word(token)) {
      word = *added;
    } else if (const Vocabulary::Place place = vocabulary.find_token(token); place != Vocabulary::none) {
      word = vocabulary.word(place);
    } else {
      continue;
    }
    if (!added_.is_special(word)) words.push_back(std::move(word));
  }
  return words;
}

std::string Tokenizer::put_together(const std::vector<std::string>& words) const {
  std::string text;
  for (size_t i = 0; i < words.size(); ++i) text.append(i && !decoder_ ? " " : "").append(words[i]);
  return text;
}

void Tokenizer::refuse(const std::string& problem) const { refuse_tokenizer(where_, problem); }

}  // namespace attn
