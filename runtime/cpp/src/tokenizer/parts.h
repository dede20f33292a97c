// The steps of a tokenizer, each read from its part of tokenizer.json: normalizers, pre-tokenizers, decoders.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "format/json.h"
#include "util/names.h"
#include "util/unicode.h"

namespace attn {

// Changes the characters of a text, before it is split.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void apply(Characters& text) const = 0;
};

// Splits each piece of a text into smaller ones.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual std::vector<Characters> split(Characters text) const = 0;
};

// Changes the words that become a text again, which are then put together without anything between them.
class Decoder {
 public:
  virtual ~Decoder() = default;
  virtual void apply(std::vector<std::string>& words) const = 0;
  // What a step leaves where more words may follow: whole words, to which others are added; one text, which grows, and in which a step finds
  // what is in no word alone; words of which the last may grow.
  enum class Beginning { words, text, begun_word };
  // The same where more words may follow: only what none of them changes is left. `beginning` says what they are, and is changed.
  virtual void apply_to_beginning(std::vector<std::string>& words, Beginning& beginning) const {
    if (beginning == Beginning::words) {
      apply(words);
    } else {
      words.clear();  // it can't be told how far it would reach back
    }
  }
};

// Each raises bundle_error, opened by `where`, for what is not among what it knows; a null is no step at all (nullptr).
std::unique_ptr<Normalizer> read_normalizer(const Json& part, const std::string& where);
std::unique_ptr<PreTokenizer> read_pre_tokenizer(const Json& part, const std::string& where);
std::unique_ptr<Decoder> read_decoder(const Json& part, const std::string& where);

// Raises bundle_error, opened by `where`, for what of the file is beyond what is known here. `problem` is a full clause.
[[noreturn]] void refuse_tokenizer(const std::string& where, const std::string& problem);

// One part of the file, whose every key is asked for: one that nobody asked for would change tokens unseen.
class TokenizerPart {
 public:
  // `what` names it in messages: "normalizer". `type` is taken where the file names none, as older files name no model's.
  TokenizerPart(const Json& value, std::string what, const std::string& where, const char* type = nullptr);

  const std::string& type() const { return type_; }
  const std::string& where() const { return where_; }
  std::string text(const char* key);
  char32_t character(const char* key);  // a text of one
  bool flag(const char* key);
  bool flag(const char* key, bool otherwise);  // `otherwise` where it is missing or null
  int64_t count(const char* key);              // a whole number, 0 or more
  const Json& list(const char* key);
  std::u32string pattern();            // of a Split or Replace: a plain string
  const Json* find(const char* key);   // nullptr where it is missing or null
  void expect_no_more() const;         // raises for a key that nobody asked for

  // `problem` is a full clause: 'the type "NFKC" is not supported; it knows ...'
  [[noreturn]] void refuse(const std::string& problem) const;
  [[noreturn]] void refuse_type(const std::string& known) const;
  // What `readers` have for the type; refuses one that is not among them.
  template <typename Reader>
  const Reader& one_of(const std::map<std::string, Reader>& readers) const {
    if (const auto found = readers.find(type_); found != readers.end()) return found->second;
    std::vector<std::string> known;
    for (const auto& [name, ignored] : readers) known.push_back(name);
    refuse_type(joined(known));
  }

 private:
  const Json& value_;
  std::string what_, type_;
  const std::string& where_;
  std::vector<std::string> asked_;
};

}  // namespace attn
