#include <algorithm>
#include <functional>
#include <map>
#include <utility>

#include "tokenizer/charsmap.h"
#include "tokenizer/parts.h"
#include "tokenizer/text_pattern.h"
#include "unicode/normal_forms.h"
#include "unicode/properties.h"
#include "unicode/transform.h"

namespace attn {
namespace {

// One that needs no more than the text.
class PlainNormalizer : public Normalizer {
 public:
  explicit PlainNormalizer(std::function<void(Characters&)> change) : change_(std::move(change)) {}
  void apply(Characters& text) const override { change_(text); }

 private:
  std::function<void(Characters&)> change_;
};

class ReplaceNormalizer : public Normalizer {
 public:
  ReplaceNormalizer(TextPattern pattern, std::u32string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}

  void apply(Characters& text) const override {
    const std::vector<Regex::Match> matches = pattern_.find_all(text);
    if (matches.empty() || text.empty()) return;
    Characters made;
    size_t at = 0;
    const auto keep = [&](size_t end) {
      made.insert(made.end(), text.begin() + static_cast<std::ptrdiff_t>(at), text.begin() + static_cast<std::ptrdiff_t>(end));
    };
    for (const auto& [begin, end] : matches) {
      keep(begin);
      // As the library has it: what is put in stands for the last character that is taken out, or that is in front.
      const Character last = end ? text[end - 1] : Character{0, text[0].begin, text[0].begin};
      for (const char32_t value : content_) made.push_back({value, last.begin, last.end});
      at = end;
    }
    keep(text.size());
    text = std::move(made);
  }

 private:
  TextPattern pattern_;
  std::u32string content_;
};

bool is_chinese(char32_t value) {
  static constexpr std::pair<char32_t, char32_t> blocks[] = {{0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F},
                                                             {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF}, {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};
  return value >= 0x3400 && std::any_of(std::begin(blocks), std::end(blocks),
                                        [&](const auto& block) { return block.first <= value && value <= block.second; });
}

class BertNormalizer : public Normalizer {
 public:
  explicit BertNormalizer(TokenizerPart& part)
      : clean_(part.flag("clean_text")), chinese_(part.flag("handle_chinese_chars")), lower_(part.flag("lowercase")) {
    accents_ = part.find("strip_accents") ? part.flag("strip_accents") : lower_;
  }

  void apply(Characters& text) const override {
    if (clean_) clean(text);
    if (chinese_) set_apart(text);
    if (accents_) {
      normalize(text, NormalForm::nfd);
      filter(text, [](char32_t value) { return value < 0x80 || !properties_of(value).is_nonspacing_mark(); });
    }
    if (lower_) lower_case(text);
  }

 private:
  static void clean(Characters& text) {
    filter(text, [](char32_t value) {
      if (value == '\t' || value == '\n' || value == '\r') return true;
      return value && value != 0xFFFD && !properties_of(value).is_control();
    });
    for (Character& each : text) {
      if (is_white_space(each.value)) each.value = ' ';
    }
  }

  static void set_apart(Characters& text) {
    if (std::none_of(text.begin(), text.end(), [](const Character& each) { return is_chinese(each.value); })) return;
    std::vector<Change> changes;
    for (const Character& each : text) {
      const bool chinese = is_chinese(each.value);
      if (chinese) changes.push_back({' ', 0});
      changes.push_back({each.value, chinese ? 1 : 0});
      if (chinese) changes.push_back({' ', 1});
    }
    transform(text, changes);
  }

  bool clean_, chinese_, lower_, accents_;
};

class StripNormalizer : public Normalizer {
 public:
  StripNormalizer(bool left, bool right) : left_(left), right_(right) {}

  void apply(Characters& text) const override {
    const auto stays = [](const Character& each) { return !is_white_space(each.value); };
    if (right_) text.erase(std::find_if(text.rbegin(), text.rend(), stays).base(), text.end());
    if (left_) text.erase(text.begin(), std::find_if(text.begin(), text.end(), stays));
  }

 private:
  bool left_, right_;
};

// What sentencepiece's rule set "nmt" does beside normal form KC.
void clean_for_translation(Characters& text) {
  filter(text, [](char32_t value) {
    return !((value >= 0x1 && value <= 0x8) || value == 0xB || (value >= 0xE && value <= 0x1F) || value == 0x7F || value == 0x8F || value == 0x9F);
  });
  static constexpr char32_t spaces[] = {'\t',   '\n',   '\f',   '\r',   0x1680, 0x200B, 0x200C, 0x200D,
                                        0x200E, 0x200F, 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD};
  for (Character& each : text) {
    if (std::find(std::begin(spaces), std::end(spaces), each.value) != std::end(spaces)) each.value = ' ';
  }
}

void strip_accents(Characters& text) {
  filter(text, [](char32_t value) { return value < 0x80 || !properties_of(value).is_mark(); });
}

class NormalizerSequence : public Normalizer {
 public:
  explicit NormalizerSequence(std::vector<std::unique_ptr<Normalizer>> steps) : steps_(std::move(steps)) {}

  void apply(Characters& text) const override {
    for (const auto& step : steps_) step->apply(text);
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> steps_;
};

std::unique_ptr<Normalizer> read_precompiled(TokenizerPart& part) {
  const std::string text = part.text("precompiled_charsmap");
  try {
    return std::make_unique<PlainNormalizer>([map = std::make_shared<Charsmap>(text)](Characters& given) { map->apply(given); });
  } catch (const std::invalid_argument& error) {
    part.refuse(std::string("precompiled_charsmap ") + error.what());
  }
}

std::unique_ptr<Normalizer> read_sequence(TokenizerPart& part) {
  std::vector<std::unique_ptr<Normalizer>> steps;
  for (const Json& each : part.list("normalizers")) {
    auto step = read_normalizer(each, part.where());
    if (!step) part.refuse("holds null, expected steps");
    steps.push_back(std::move(step));
  }
  return std::make_unique<NormalizerSequence>(std::move(steps));
}

using Reader = std::function<std::unique_ptr<Normalizer>(TokenizerPart&)>;

Reader plain(void (*change)(Characters&)) {
  return [change](TokenizerPart&) { return std::make_unique<PlainNormalizer>(change); };
}

Reader form(NormalForm which) {
  return [which](TokenizerPart&) {
    return std::make_unique<PlainNormalizer>([which](Characters& text) { normalize(text, which); });
  };
}

const std::map<std::string, Reader>& readers() {
  static const std::map<std::string, Reader> known = {
      {"NFC", form(NormalForm::nfc)},
      {"NFD", form(NormalForm::nfd)},
      {"NFKC", form(NormalForm::nfkc)},
      {"NFKD", form(NormalForm::nfkd)},
      {"Lowercase", plain(lower_case)},
      {"StripAccents", plain(strip_accents)},
      {"Nmt", plain(clean_for_translation)},
      {"ByteLevel", plain(spell_bytes)},
      {"BertNormalizer", [](TokenizerPart& part) { return std::make_unique<BertNormalizer>(part); }},
      {"Strip",
       [](TokenizerPart& part) {
         const bool left = part.flag("strip_left");
         return std::make_unique<StripNormalizer>(left, part.flag("strip_right"));
       }},
      {"Prepend",
       [](TokenizerPart& part) {
         return std::make_unique<PlainNormalizer>([front = code_points(part.text("prepend"))](Characters& text) { prepend(text, front); });
       }},
      {"Replace",
       [](TokenizerPart& part) {
         TextPattern pattern = TextPattern::read(part);
         return std::make_unique<ReplaceNormalizer>(std::move(pattern), code_points(part.text("content")));
       }},
      {"Precompiled", [](TokenizerPart& part) { return read_precompiled(part); }},
      {"Sequence", read_sequence},
  };
  return known;
}

}  // namespace

std::unique_ptr<Normalizer> read_normalizer(const Json& value, const std::string& where) {
  if (value.is_null()) return nullptr;
  TokenizerPart part(value, "normalizer", where);
  std::unique_ptr<Normalizer> made = part.one_of(readers())(part);
  part.expect_no_more();
  return made;
}

}  // namespace attn
