#include "tokenizer/added_tokens.h"

#include <algorithm>

#include "unicode/properties.h"

namespace attn {
namespace {

bool flag(const Json& token, const char* key, const std::string& where) {
  const auto found = token.find(key);
  if (found == token.end() || !found->is_boolean()) {
    refuse_tokenizer(where, "the added token " + shown(token) + " does not say whether it is " + key);
  }
  return found->get<bool>();
}

std::string normal(const std::string& word, const Normalizer* normalizer) {
  if (!normalizer) return word;
  Characters text = characters(code_points(word));
  normalizer->apply(text);
  return utf8_of(text);
}

}  // namespace

AddedTokens::AddedTokens(const Json& value, const Vocabulary& vocabulary, const Normalizer* normalizer, const std::string& where) {
  if (value.is_null()) return;
  if (!value.is_array()) refuse_tokenizer(where, "added_tokens is " + shown(value) + ", expected a list");
  std::vector<std::string> given, normalized;
  std::set<std::string> before;
  auto next = static_cast<int64_t>(vocabulary.size());
  for (const Json& each : value) {
    const auto content = each.is_object() ? each.find("content") : each.end();
    if (!each.is_object() || content == each.end() || !content->is_string() || content->get_ref<const std::string&>().empty()) {
      refuse_tokenizer(where, "an added token is " + shown(each));
    }
    const std::string& word = content->get_ref<const std::string&>();
    if (word.size() > Vocabulary::longest_word) refuse_tokenizer(where, "the added token " + shown(word, 40) + " is too long");
    if (!before.insert(word).second) refuse_tokenizer(where, "the added token " + shown(word) + " is there twice");
    // The library takes the token that a model has for the word, else the next one: what the file says is not looked at.
    const Vocabulary::Place known = vocabulary.find(word);
    const int64_t token = known != Vocabulary::none ? vocabulary.token(known) : next++;
    if (const auto id = each.find("id"); id == each.end() || *id != token) {
      refuse_tokenizer(where, "the added token " + shown(word) + " has the id " + (id == each.end() ? "null" : shown(*id)) + ", expected " +
                        std::to_string(token) + (known != Vocabulary::none ? ", which it has in the vocab" : ", the next after those before it"));
    }
    const Added added = {token, flag(each, "single_word", where), flag(each, "lstrip", where), flag(each, "rstrip", where)};
    const bool as_normalized = flag(each, "normalized", where);
    if (flag(each, "special", where)) special_.insert(word);
    const std::string written = as_normalized ? normal(word, normalizer) : word;
    if (written.empty()) refuse_tokenizer(where, "of the added token " + shown(word) + " the normalizer leaves nothing, which is not supported");
    if (written.size() > Vocabulary::longest_word) refuse_tokenizer(where, "the added token " + shown(word, 40) + " is too long");
    (as_normalized ? as_normalized_ : as_given_).added.push_back(added);
    (as_normalized ? normalized : given).push_back(written);
    if (!written_.emplace(token, written).second) refuse_tokenizer(where, "two added tokens have the id " + std::to_string(token));
  }
  const auto made = [&](const std::vector<std::string>& texts) {
    std::vector<Vocabulary::Entry> entries;
    for (const std::string& text : texts) entries.push_back({text, static_cast<uint32_t>(entries.size())});
    Vocabulary words(std::move(entries));
    for (Vocabulary::Place place = 1; place < words.size(); ++place) {
      if (words.word(place) == words.word(place - 1)) {
        refuse_tokenizer(where, "two added tokens become " + shown(std::string(words.word(place))) +
                                    " when they are normalized, which is not supported");
      }
    }
    return words;
  };
  as_given_.words = made(given);
  as_normalized_.words = made(normalized);
}

std::vector<AddedTokens::Piece> AddedTokens::cut(const Characters& text, bool normalized) const {
  const auto& [words, tokens] = normalized ? as_normalized_ : as_given_;
  std::vector<Piece> pieces;
  std::string bytes;  // of a character
  size_t done = 0;
  for (size_t at = 0; at < text.size() && !tokens.empty();) {
    Vocabulary::Range range = words.all();
    Vocabulary::Place longest = Vocabulary::none;
    size_t begin = at, end = at;
    for (size_t next = at; next < text.size() && !range.empty();) {
      bytes.clear();
      append_utf8(bytes, text[next++].value);
      words.narrow(range, bytes);
      if (const Vocabulary::Place whole = words.whole(range); whole != Vocabulary::none) {
        longest = whole;
        end = next;
      }
    }
    if (longest == Vocabulary::none) {
      ++at;
      continue;
    }
    at = end;
    const Added& added = tokens[words.token(longest)];
    const auto is_word = [&](size_t place) { return place < text.size() && is_word_character(text[place].value); };
    if (added.single_word && ((begin && is_word(begin - 1)) || is_word(end))) continue;
    // The one before may have taken it along, which then is there again or, where it takes spaces itself, is not: as the library has it.
    while (added.left && begin && is_white_space(text[begin - 1].value)) --begin;
    if (added.left) begin = std::max(begin, done);
    while (added.right && end < text.size() && is_white_space(text[end].value)) ++end;
    if (done < begin) pieces.push_back({done, begin, -1});
    if (begin < end) pieces.push_back({begin, end, added.token});
    done = end;
  }
  if (done < text.size()) pieces.push_back({done, text.size(), -1});
  return pieces;
}

const std::string* AddedTokens::word(int64_t token) const {
  const auto found = written_.find(token);
  return found == written_.end() ? nullptr : &found->second;
}

}  // namespace attn
