#include "tokenizer/text_input.h"

#include <algorithm>
#include <utility>

#include "util/error.h"
#include "util/unicode.h"

namespace attn {
namespace {

// Of an input; none where it is null or left out.
std::optional<std::string> name_in(const Json& recipe, const char* key) {
  const auto found = recipe.find(key);
  if (found == recipe.end() || found->is_null()) return std::nullopt;
  return found->get<std::string>();
}

}  // namespace

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
  for (const auto& [key, dtype] : {std::pair("input", ATTN_INT64), std::pair("mask", ATTN_BOOL), std::pair("types", ATTN_INT64)}) {
    const std::optional<std::string> named = name_in(*recipe, key);
    if (!named) continue;
    const std::string& name = *named;
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
      mask_(name_in(recipe, "mask")),
      types_(name_in(recipe, "types")),
      pad_(recipe.at("pad")),
      tokenizer_(tokenizer, where),
      length_(std::move(length)),
      most_(static_cast<size_t>(std::min(length_.max, recipe.value("max_length", length_.max)))),
      where_(std::move(where)) {
  if (!recipe.at("unknown").is_null()) unknown_ = recipe.at("unknown").get<int64_t>();
}

Tensors Text::encode(const std::vector<std::string>& texts, const std::vector<std::string>* seconds) const {
  std::vector<Tokenizer::Encoded> rows;
  auto longest = static_cast<size_t>(length_.min);
  size_t shortest = SIZE_MAX;
  for (size_t row = 0; row < texts.size(); ++row) {
    rows.push_back(encoded(texts[row], seconds ? &seconds->at(row) : nullptr));
    longest = std::max(longest, rows.back().tokens.size());
    // What a graph of a fixed length is padded to is part of what a model without a mask was trained on, and is no difference.
    shortest = std::min(shortest, std::max(static_cast<size_t>(length_.min), rows.back().tokens.size()));
  }
  if (!mask_ && shortest < longest) {
    throw input_error("texts of " + std::to_string(shortest) + " to " + std::to_string(longest) + " tokens: " + where_ +
                      " has no mask that tells tokens from padding; give texts of one length at a time");
  }
  const Shape shape = {static_cast<int64_t>(rows.size()), static_cast<int64_t>(longest)};
  Tensor tokens(input_, ATTN_INT64, shape), mask(mask_.value_or(""), ATTN_BOOL, shape), types(types_.value_or(""), ATTN_INT64, shape);
  auto* token = tokens.view().as<int64_t>();
  auto* set = mask.view().as<uint8_t>();
  auto* type = types.view().as<int64_t>();
  std::fill_n(token, rows.size() * longest, pad_);
  for (const Tokenizer::Encoded& row : rows) {
    for (size_t i = 0; i < row.tokens.size(); ++i) token[i] = row.tokens[i].token;
    std::fill_n(set, row.tokens.size(), uint8_t{1});
    std::copy(row.types.begin(), row.types.end(), type);
    token += longest;
    set += longest;
    type += longest;
  }
  Tensors made;
  made.emplace(input_, std::move(tokens));
  if (mask_) made.emplace(*mask_, std::move(mask));
  if (types_) made.emplace(*types_, std::move(types));
  return made;
}

std::vector<std::string> Text::unknown_words(const std::string& text) const {
  std::vector<std::string> found;
  if (!unknown_) return found;
  const auto tokens = encoded(text).tokens;
  const std::u32string whole = code_points(text);
  for (const auto& [token, begin, end] : tokens) {
    if (token == *unknown_) found.push_back(to_utf8(whole.substr(begin, end - begin)));
  }
  return found;
}

std::string Text::allowed() const { return std::to_string(length_.min) + ".." + std::to_string(most_); }

std::u32string Text::checked(const std::string& text) const {
  const std::string named = "text \"" + printable(text, 40) + "\"";
  if (!is_utf8(text)) throw input_error(named + ": is no UTF-8 text (" + where_ + ")");
  std::u32string values = code_points(text);
  if (std::all_of(values.begin(), values.end(), is_blank)) {
    throw input_error(named + ": is empty; expected " + allowed() + " tokens (" + where_ + ")");
  }
  return values;
}

Tokenizer::Encoded Text::encoded(const std::string& text, const std::string* second) const {
  const std::u32string values = checked(text), others = second ? checked(*second) : std::u32string();
  const std::string named = "text \"" + printable(text, 40) + "\"" + (second ? " with text \"" + printable(*second, 40) + "\"" : "");
  Tokenizer::Encoded found;
  try {
    found = tokenizer_.encode(values, second ? &others : nullptr);
  } catch (const Error& error) {  // as a word without a token for unknown ones: the bundle's fault
    throw bundle_error(where_ + ": asset tokenizer: can't read " + named + ": " + error.what() + "; re-export the bundle");
  }
  if (found.tokens.empty()) throw input_error(named + ": the tokenizer finds no token in it (" + where_ + ")");
  if (found.tokens.size() > most_) {
    throw input_error(named + ": has " + std::to_string(found.tokens.size()) + " tokens; expected " + allowed() +
                      ": shorten it or cut it in two (" + where_ + ")");
  }
  return found;
}

}  // namespace attn
