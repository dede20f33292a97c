#include <algorithm>
#include <array>
#include <utility>

#include "tokenizer/parts.h"

namespace attn {
namespace {

std::string replaced(const std::string& text, const std::string& wanted, const std::string& content) {
  std::string made;
  size_t at = 0;
  for (size_t match; (match = text.find(wanted, at)) != std::string::npos; at = match + wanted.size()) {
    made.append(text, at, match - at).append(content);
  }
  return made.append(text, at);
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
      if (cleanup_) words[i] = clean(words[i]);
    }
  }

 private:
  static std::string clean(std::string word) {
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

  std::string prefix_;
  bool cleanup_;
};

class FuseDecoder : public Decoder {
 public:
  void apply(std::vector<std::string>& words) const override {
    std::string whole;
    for (const std::string& word : words) whole += word;
    words = {std::move(whole)};
  }
  void apply_to_beginning(std::vector<std::string>& words, bool& fused) const override {
    apply(words);
    fused = true;
  }
};

class ReplaceDecoder : public Decoder {
 public:
  ReplaceDecoder(std::string wanted, std::string content) : wanted_(std::move(wanted)), content_(std::move(content)) {}

  void apply(std::vector<std::string>& words) const override {
    for (std::string& word : words) word = replaced(word, wanted_, content_);
  }
  void apply_to_beginning(std::vector<std::string>& words, bool& fused) const override {
    if (fused && !words.empty()) words[0].resize(words[0].size() - begun(words[0]));
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

class DecoderSequence : public Decoder {
 public:
  explicit DecoderSequence(std::vector<std::unique_ptr<Decoder>> steps) : steps_(std::move(steps)) {}

  void apply(std::vector<std::string>& words) const override {
    for (const auto& step : steps_) step->apply(words);
  }
  void apply_to_beginning(std::vector<std::string>& words, bool& fused) const override {
    for (const auto& step : steps_) step->apply_to_beginning(words, fused);
  }

 private:
  std::vector<std::unique_ptr<Decoder>> steps_;
};

}  // namespace

std::unique_ptr<Decoder> read_decoder(const Json& value, const std::string& where) {
  if (value.is_null()) return nullptr;
  TokenizerPart part(value, "decoder", where);
  std::unique_ptr<Decoder> made;
  if (part.type() == "WordPiece") {
    std::string prefix = part.text("prefix");
    made = std::make_unique<WordPieceDecoder>(std::move(prefix), part.flag("cleanup"));
  } else if (part.type() == "Fuse") {
    made = std::make_unique<FuseDecoder>();
  } else if (part.type() == "Replace") {
    std::string wanted = to_utf8(part.pattern());
    made = std::make_unique<ReplaceDecoder>(std::move(wanted), part.text("content"));
  } else if (part.type() == "Sequence") {
    std::vector<std::unique_ptr<Decoder>> steps;
    for (const Json& each : part.list("decoders")) {
      auto step = read_decoder(each, where);
      if (!step) part.refuse("holds null, expected steps");
      steps.push_back(std::move(step));
    }
    made = std::make_unique<DecoderSequence>(std::move(steps));
  } else {
    part.refuse_type("WordPiece, Fuse, Replace and Sequence");
  }
  part.expect_no_more();
  return made;
}

}  // namespace attn
