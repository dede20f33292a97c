#include "tokenizer/text_input.h"

#include <algorithm>
#include <utility>

#include "util/error.h"
#include "util/unicode.h"

namespace attn {

bool Text::is_in(const Bundle& bundle) {
  const Json& assets = bundle.manifest.at("assets");
  return assets.contains("text") && assets.contains("tokenizer");
}

std::shared_ptr<const Text> Text::open(const Bundle& bundle, const std::vector<TensorSpec>& inputs, const std::string& where) {
  const std::optional<Json> recipe = bundle.asset("text"), tokenizer = bundle.asset("tokenizer");
  if (!recipe || !tokenizer) {
    const char* missing = recipe ? "tokenizer.json" : tokenizer ? "text.json" : "text.json and tokenizer.json";
    throw usage_error(where + ": takes no texts: its assets lack " + missing + "; attn-run run takes arrays");
  }
  const auto spec_of = [&](const std::string& name) {
    return std::find_if(inputs.begin(), inputs.end(), [&](const TensorSpec& spec) { return spec.name == name; });
  };
  for (const auto& [key, dtype] : {std::pair("input", ATTN_INT64), std::pair("mask", ATTN_BOOL)}) {
    const auto name = recipe->at(key).get<std::string>();
    const auto spec = spec_of(name);
    if (spec != inputs.end() && spec->dtype == dtype && spec->dims.size() == 2) continue;
    std::string found;
    for (const TensorSpec& each : inputs) found += (found.empty() ? "" : ", ") + each.name;
    throw bundle_error(where + ": asset text: expected an input " + printable(name) + " of " + name_of(dtype) + " [batch, length], found " +
                       (spec == inputs.end() ? found : spec->text()) + "; re-export the bundle");
  }
  const Dim length = spec_of(recipe->at("input").get<std::string>())->dims[1];
  return std::shared_ptr<const Text>(new Text(*recipe, *tokenizer, length, where));
}

Text::Text(const Json& recipe, const Json& tokenizer, Dim length, std::string where)
    : input_(recipe.at("input")),
      mask_(recipe.at("mask")),
      pad_(recipe.at("pad")),
      tokenizer_(tokenizer, where),
      length_(std::move(length)),
      where_(std::move(where)) {
  if (!recipe.at("unknown").is_null()) unknown_ = recipe.at("unknown").get<int64_t>();
}

Tensors Text::encode(const std::vector<std::string>& texts) const {
  std::vector<std::vector<Tokenizer::Found>> rows;
  auto longest = static_cast<size_t>(length_.min);
  for (const std::string& text : texts) {
    rows.push_back(encoded(text));
    longest = std::max(longest, rows.back().size());
  }
  const Shape shape = {static_cast<int64_t>(rows.size()), static_cast<int64_t>(longest)};
  Tensor tokens(input_, ATTN_INT64, shape), mask(mask_, ATTN_BOOL, shape);
  auto* token = tokens.view().as<int64_t>();
  auto* set = mask.view().as<uint8_t>();
  std::fill_n(token, rows.size() * longest, pad_);
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      token[i] = row[i].token;
      set[i] = 1;
    }
    token += longest;
    set += longest;
  }
  Tensors made;
  made.emplace(input_, std::move(tokens));
  made.emplace(mask_, std::move(mask));
  return made;
}

std::vector<std::string> Text::unknown_words(const std::string& text) const {
  std::vector<std::string> found;
  if (!unknown_) return found;
  const auto tokens = encoded(text);
  const std::u32string whole = code_points(text);
  for (const auto& [token, begin, end] : tokens) {
    if (token == *unknown_) found.push_back(to_utf8(whole.substr(begin, end - begin)));
  }
  return found;
}

std::vector<Tokenizer::Found> Text::encoded(const std::string& text) const {
  const std::string named = "text \"" + printable(text, 40) + "\"";
  const std::string allowed = std::to_string(length_.min) + ".." + std::to_string(length_.max);
  if (!is_utf8(text)) throw input_error(named + ": is no UTF-8 text (" + where_ + ")");
  const std::u32string values = code_points(text);
  if (std::all_of(values.begin(), values.end(), is_blank)) {
    throw input_error(named + ": is empty; expected " + allowed + " tokens (" + where_ + ")");
  }
  std::vector<Tokenizer::Found> found;
  try {
    found = tokenizer_.encode(values);
  } catch (const Error& error) {  // as a word without a token for unknown ones: the bundle's fault
    throw bundle_error(where_ + ": asset tokenizer: can't read " + named + ": " + error.what() + "; re-export the bundle");
  }
  if (found.empty()) throw input_error(named + ": the tokenizer finds no token in it (" + where_ + ")");
  if (found.size() > static_cast<size_t>(length_.max)) {
    throw input_error(named + ": has " + std::to_string(found.size()) + " tokens; expected " + allowed +
                      ": shorten it or cut it in two (" + where_ + ")");
  }
  return found;
}

}  // namespace attn
