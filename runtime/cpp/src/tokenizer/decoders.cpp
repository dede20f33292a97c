#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "tokenizer/models/byte_tokens.h"
#include "tokenizer/parts.h"
#include "tokenizer/text_pattern.h"
#include "unicode/transform.h"

namespace attn {
namespace {

constexpr const char* unreadable = "\uFFFD";

// What `tokenizers` takes from in front of marks, and from English short forms.
std::string cleaned_up(std::string word) {
  static constexpr std::array<std::pair<const char*, const char*>, 11> marks = {{{" .", "."},
                                                                                 {" ?", "?"},
                                                                                 {" !", "!"},
                                                                                 {" ,", ","},
                                                                                 {" ' ", "'"},
                                                                                 {" n't", "n't"},
                                                                                 {" 'm", "'m"},
                                                                                 {" do not", " don't"},
                                                                                 {" 's", "'s"},
                                                                                 {" 've", "'ve"},
                                                                                 {" 're", "'re"}}};
  for (const auto& [wanted, content] : marks) word = replaced(word, wanted, content);
  return word;
}

// A space in front of each word but the first and those that begin with the prefix; `cleanup` takes it from in front of marks.
class WordPieceDecoder : public Decoder {
 public:
  WordPieceDecoder(std::string prefix, bool cleanup) : prefix_(std::move(prefix)), cleanup_(cleanup) {}

  void apply(std::vector<std::string>& words) const override {
    for (size_t i = 0; i < words.size(); ++i) {
      if (i > 0) {
        if (words[i].compare(0, prefix_.size(), prefix_) == 0) {
          words[i].erase(0, prefix_.size());
        } else {
          words[i].insert(0, 1, ' ');
        }
      }
      if (cleanup_) words[i] = cleaned_up(words[i]);
    }
  }

 private:
  std::string prefix_;
  bool cleanup_;
};

void fuse(std::vector<std::string>& words) {
  std::string whole;
  for (const std::string& word : words) whole += word;
  words = {std::move(whole)};
}

class FuseDecoder : public Decoder {
 public:
  void apply(std::vector<std::string>& words) const override { fuse(words); }
  void apply_to_beginning(std::vector<std::string>& words, Beginning& beginning) const override {
    fuse(words);
    if (beginning == Beginning::words) beginning = Beginning::text;
  }
};

class ReplaceDecoder : public Decoder {
 public:
  ReplaceDecoder(std::string wanted, std::string content) : wanted_(std::move(wanted)), content_(std::move(content)) {}

  void apply(std::vector<std::string>& words) const override {
    for (std::string& word : words) word = replaced(word, wanted_, content_);
  }
  void apply_to_beginning(std::vector<std::string>& words, Beginning& beginning) const override {
    if (beginning == Beginning::begun_word) words.clear();
    if (beginning == Beginning::text && !words.empty()) words[0].resize(words[0].size() - begun(words[0]));
    apply(words);
  }

 private:
  // How many bytes at the end of a text, behind its last match, may be the beginning of another.
  size_t begun(const std::string& text) const {
    size_t rest = 0;
    for (size_t match; (match = text.find(wanted_, rest)) != std::string::npos;) rest = match + wanted_.size();
    size_t count = std::min(wanted_.size() - 1, text.size() - rest);
    while (text.compare(text.size() - count, count, wanted_, 0, count) != 0) --count;
    return count;
  }

  std::string wanted_, content_;
};

// What a regular expression finds in a word. How far a match reaches back in a text that grows can't be told.
class PatternDecoder : public Decoder {
 public:
  PatternDecoder(TextPattern wanted, std::string content) : wanted_(std::move(wanted)), content_(std::move(content)) {}

  void apply(std::vector<std::string>& words) const override {
    for (std::string& word : words) {
      const std::u32string text = code_points(word);
      std::string made;
      size_t at = 0;
      for (const auto& match : wanted_.find_all(text)) {
        made.append(to_utf8(text.substr(at, match.begin - at))).append(content_);
        at = match.end;
      }
      word = made.append(to_utf8(text.substr(at)));
    }
  }

 private:
  TextPattern wanted_;
  std::string content_;
};

// Steps that look at one character of a text after the other: what they make of a beginning stays.
class CharacterDecoder : public Decoder {
 public:
  void apply_to_beginning(std::vector<std::string>& words, Beginning& beginning) const override {
    if (beginning == Beginning::begun_word) words.clear();
    apply(words);
  }
};

// The mark that stands for a space becomes one again; in the first word it goes, where a text got one in front of it.
class MetaspaceDecoder : public CharacterDecoder {
 public:
  MetaspaceDecoder(std::string mark, bool prepended) : mark_(std::move(mark)), prepended_(prepended) {}

  void apply(std::vector<std::string>& words) const override {
    for (size_t i = 0; i < words.size(); ++i) words[i] = replaced(words[i], mark_, i == 0 && prepended_ ? "" : " ");
  }

 private:
  std::string mark_;
  bool prepended_;
};

// At most so many of a character from the beginning of each word.
class StripDecoder : public CharacterDecoder {
 public:
  StripDecoder(std::string content, size_t most) : content_(std::move(content)), most_(most) {}

  void apply(std::vector<std::string>& words) const override {
    for (std::string& word : words) {
      size_t cut = 0;
      for (size_t i = 0; i < most_ && word.compare(cut, content_.size(), content_) == 0; ++i) cut += content_.size();
      word.erase(0, cut);
    }
  }

 private:
  std::string content_;
  size_t most_;
};

// Words side by side that stand for bytes become the characters that these are. Where they are no UTF-8, each of them becomes U+FFFD.
class ByteFallbackDecoder : public Decoder {
 public:
  void apply(std::vector<std::string>& words) const override {
    std::vector<std::string> made;
    std::string bytes;
    const auto end_row = [&] {
      if (is_utf8(bytes)) {
        if (!bytes.empty()) made.push_back(bytes);
      } else {
        made.insert(made.end(), bytes.size(), unreadable);
      }
      bytes.clear();
    };
    for (std::string& word : words) {
      if (const auto byte = byte_of(word)) {
        bytes.push_back(static_cast<char>(*byte));
      } else {
        end_row();
        made.push_back(std::move(word));
      }
    }
    end_row();
    words = std::move(made);
  }
  void apply_to_beginning(std::vector<std::string>& words, Beginning& beginning) const override {
    if (beginning != Beginning::words) words.clear();
    while (!words.empty() && byte_of(words.back())) words.pop_back();  // one byte more may make all of them unreadable
    apply(words);
  }
};

// The letters that stand for bytes (GPT-2) become these. What is no UTF-8 becomes U+FFFD, over the whole text.
class ByteLevelDecoder : public Decoder {
 public:
  void apply(std::vector<std::string>& words) const override {
    std::string bytes;
    for (const std::string& word : words) {
      const std::optional<std::string> found = bytes_of(word);
      bytes += found ? *found : word;
    }
    words = {readable_utf8(bytes)};
  }
  void apply_to_beginning(std::vector<std::string>& words, Beginning& beginning) const override {
    if (beginning != Beginning::words) {
      words.clear();
      return;
    }
    apply(words);
    // Maybe the beginning of a character.
    const std::string_view end = unreadable;
    std::string& text = words[0];
    if (text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0) text.resize(text.size() - end.size());
    beginning = Beginning::text;
  }

 private:
  // None where a letter stands for no byte.
  static std::optional<std::string> bytes_of(const std::string& word) {
    std::string bytes;
    for (const char32_t letter : code_points(word)) {
      const std::optional<unsigned char> byte = byte_of_letter(letter);
      if (!byte) return std::nullopt;
      bytes.push_back(static_cast<char>(*byte));
    }
    return bytes;
  }
};

// The mark at the end of a word becomes a space, but behind the last one.
class BpeDecoder : public Decoder {
 public:
  explicit BpeDecoder(std::string suffix) : suffix_(std::move(suffix)) {}

  void apply(std::vector<std::string>& words) const override {
    for (size_t i = 0; i < words.size(); ++i) words[i] = replaced(words[i], suffix_, i + 1 == words.size() ? "" : " ");
  }
  void apply_to_beginning(std::vector<std::string>& words, Beginning& beginning) const override {
    if (beginning != Beginning::words) words.clear();
    if (words.empty()) return;
    // The last word is written otherwise than those before it.
    std::string last = std::move(words.back());
    last.resize(std::min(last.size(), last.find(suffix_)));
    words.pop_back();
    for (std::string& word : words) word = replaced(word, suffix_, " ");
    words.push_back(std::move(last));
    beginning = Beginning::begun_word;
  }

 private:
  std::string suffix_;
};

// Of equal words side by side one; without the blank, and with spaces for the mark between words.
class CtcDecoder : public Decoder {
 public:
  CtcDecoder(std::string pad, std::string delimiter, bool cleanup) : pad_(std::move(pad)), delimiter_(std::move(delimiter)), cleanup_(cleanup) {}

  void apply(std::vector<std::string>& words) const override {
    words.erase(std::unique(words.begin(), words.end()), words.end());
    for (std::string& word : words) {
      word = replaced(word, pad_, "");
      if (cleanup_) word = replaced(cleaned_up(word), delimiter_, " ");
    }
    words.erase(std::remove(words.begin(), words.end(), ""), words.end());
  }

 private:
  std::string pad_, delimiter_;
  bool cleanup_;
};

class DecoderSequence : public Decoder {
 public:
  explicit DecoderSequence(std::vector<std::unique_ptr<Decoder>> steps) : steps_(std::move(steps)) {}

  void apply(std::vector<std::string>& words) const override {
    for (const auto& step : steps_) step->apply(words);
  }
  void apply_to_beginning(std::vector<std::string>& words, Beginning& beginning) const override {
    for (const auto& step : steps_) step->apply_to_beginning(words, beginning);
  }

 private:
  std::vector<std::unique_ptr<Decoder>> steps_;
};

// A text of which a step needs a character or more.
std::string filled(TokenizerPart& part, const char* key) {
  std::string found = part.text(key);
  if (found.empty()) part.refuse(std::string(key) + " is empty, which is not supported");
  return found;
}

std::unique_ptr<Decoder> read_metaspace(TokenizerPart& part) {
  std::string mark = to_utf8(std::u32string{part.character("replacement")});
  const std::string scheme = part.find("prepend_scheme") ? part.text("prepend_scheme") : "always";
  const bool known = scheme == "always" || scheme == "first" || scheme == "never";
  if (!known) part.refuse("prepend_scheme is " + shown(scheme) + ", expected always, first or never");
  // Of older files; the library refuses those in which the two contradict each other.
  const bool prefix = part.flag("add_prefix_space", true);
  if (!prefix && scheme != "never") part.refuse("add_prefix_space is false and prepend_scheme is " + scheme + ", expected never");
  part.flag("split", true);
  part.find("str_rep");
  return std::make_unique<MetaspaceDecoder>(std::move(mark), scheme != "never");
}

std::unique_ptr<Decoder> read_strip(TokenizerPart& part) {
  std::string content = to_utf8(std::u32string{part.character("content")});
  const int64_t start = part.count("start"), stop = part.count("stop");
  // The library fails at a word that is shorter.
  if (stop) part.refuse("its stop is " + std::to_string(stop) + ", only 0 is supported");
  return std::make_unique<StripDecoder>(std::move(content), static_cast<size_t>(start));
}

std::unique_ptr<Decoder> read_step(const Json& value, const std::string& what, const std::string& where) {
  TokenizerPart part(value, what, where);
  std::unique_ptr<Decoder> made;
  if (part.type() == "WordPiece") {
    std::string prefix = part.text("prefix");
    made = std::make_unique<WordPieceDecoder>(std::move(prefix), part.flag("cleanup"));
  } else if (part.type() == "Fuse") {
    made = std::make_unique<FuseDecoder>();
  } else if (part.type() == "Replace") {
    const Json* pattern = part.find("pattern");
    if (pattern && pattern->is_object() && pattern->contains("Regex")) {
      TextPattern wanted = TextPattern::read(part);
      made = std::make_unique<PatternDecoder>(std::move(wanted), part.text("content"));
    } else {
      std::string wanted = to_utf8(part.pattern());
      made = std::make_unique<ReplaceDecoder>(std::move(wanted), part.text("content"));
    }
  } else if (part.type() == "ByteLevel") {
    for (const char* key : {"add_prefix_space", "trim_offsets", "use_regex"}) part.flag(key, true);  // of the pre-tokenizer
    made = std::make_unique<ByteLevelDecoder>();
  } else if (part.type() == "Metaspace") {
    made = read_metaspace(part);
  } else if (part.type() == "ByteFallback") {
    made = std::make_unique<ByteFallbackDecoder>();
  } else if (part.type() == "Strip") {
    made = read_strip(part);
  } else if (part.type() == "BPEDecoder") {
    made = std::make_unique<BpeDecoder>(filled(part, "suffix"));
  } else if (part.type() == "CTC") {
    std::string pad = filled(part, "pad_token"), delimiter = filled(part, "word_delimiter_token");
    made = std::make_unique<CtcDecoder>(std::move(pad), std::move(delimiter), part.flag("cleanup"));
  } else if (part.type() == "Sequence") {
    std::vector<std::unique_ptr<Decoder>> steps;
    for (const Json& each : part.list("decoders")) {
      steps.push_back(read_step(each, what + (what.back() >= '0' && what.back() <= '9' ? "." : " ") + std::to_string(steps.size() + 1), where));
    }
    made = std::make_unique<DecoderSequence>(std::move(steps));
  } else {
    part.refuse_type("WordPiece, ByteLevel, Metaspace, ByteFallback, Fuse, Replace, Strip, BPEDecoder, CTC and Sequence");
  }
  part.expect_no_more();
  return made;
}

}  // namespace

std::unique_ptr<Decoder> read_decoder(const Json& value, const std::string& where) {
  return value.is_null() ? nullptr : read_step(value, "decoder", where);
}

}  // namespace attn
