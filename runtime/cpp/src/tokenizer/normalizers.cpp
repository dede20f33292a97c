#include "tokenizer/parts.h"

namespace attn {
namespace {

class ComposeNormalizer : public Normalizer {
 public:
  void apply(Characters& text) const override { compose(text); }
};

class LowerCaseNormalizer : public Normalizer {
 public:
  void apply(Characters& text) const override { lower_case(text); }
};

class ReplaceNormalizer : public Normalizer {
 public:
  ReplaceNormalizer(std::u32string wanted, std::u32string content) : wanted_(std::move(wanted)), content_(std::move(content)) {}

  void apply(Characters& text) const override {
    size_t at = find_in(text, wanted_, 0);
    if (at == text.size()) return;
    Characters made(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at));
    while (at < text.size()) {
      const size_t end = at + wanted_.size();
      // As the library has it: what is put in stands for the last character that is taken out.
      for (const char32_t value : content_) made.push_back({value, text[end - 1].begin, text[end - 1].end});
      at = find_in(text, wanted_, end);
      made.insert(made.end(), text.begin() + static_cast<std::ptrdiff_t>(end), text.begin() + static_cast<std::ptrdiff_t>(at));
    }
    text = std::move(made);
  }

 private:
  std::u32string wanted_, content_;
};

class NormalizerSequence : public Normalizer {
 public:
  explicit NormalizerSequence(std::vector<std::unique_ptr<Normalizer>> steps) : steps_(std::move(steps)) {}

  void apply(Characters& text) const override {
    for (const auto& step : steps_) step->apply(text);
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> steps_;
};

}  // namespace

std::unique_ptr<Normalizer> read_normalizer(const Json& value, const std::string& where) {
  if (value.is_null()) return nullptr;
  TokenizerPart part(value, "normalizer", where);
  std::unique_ptr<Normalizer> made;
  if (part.type() == "NFC") {
    made = std::make_unique<ComposeNormalizer>();
  } else if (part.type() == "Lowercase") {
    made = std::make_unique<LowerCaseNormalizer>();
  } else if (part.type() == "Replace") {
    std::u32string wanted = part.pattern();
    made = std::make_unique<ReplaceNormalizer>(std::move(wanted), code_points(part.text("content")));
  } else if (part.type() == "Sequence") {
    std::vector<std::unique_ptr<Normalizer>> steps;
    for (const Json& each : part.list("normalizers")) {
      auto step = read_normalizer(each, where);
      if (!step) part.refuse("holds null, expected steps");
      steps.push_back(std::move(step));
    }
    made = std::make_unique<NormalizerSequence>(std::move(steps));
  } else {
    part.refuse_type("NFC, Lowercase, Replace and Sequence");
  }
  part.expect_no_more();
  return made;
}

}  // namespace attn
