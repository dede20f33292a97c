#include "tokenizer/model_reader.h"

#include <cmath>
#include <limits>

#include "tokenizer/models/bpe.h"
#include "tokenizer/models/unigram.h"
#include "tokenizer/models/word_level.h"
#include "tokenizer/models/word_piece.h"
#include "tokenizer/parts.h"

namespace attn {
namespace {

void check_word(const std::string& word, const TokenizerPart& part) {
  if (word.size() <= Vocabulary::longest_word) return;
  part.refuse("the word " + shown(word, 40) + " is of " + std::to_string(word.size()) + " bytes, at most " +
              std::to_string(Vocabulary::longest_word) + " are supported");
}

// Of an object: words and their tokens.
Vocabulary read_vocabulary(TokenizerPart& part) {
  const Json* vocabulary = part.find("vocab");
  if (!vocabulary || !vocabulary->is_object()) part.refuse("has no vocab, expected words and their tokens");
  std::vector<Vocabulary::Entry> entries;
  entries.reserve(vocabulary->size());
  for (const auto& [word, token] : vocabulary->get_ref<const Json::object_t&>()) {
    if (!token.is_number_integer() || token.get<int64_t>() < 0 || token.get<int64_t>() >= UINT32_MAX) {
      part.refuse("the token of " + shown(word) + " is " + shown(token) + ", expected a whole number, 0 or more");
    }
    check_word(word, part);
    entries.push_back({word, static_cast<uint32_t>(token.get<int64_t>())});
  }
  Vocabulary made(std::move(entries));
  if (const auto twins = made.of_one_token()) {
    part.refuse("the words " + shown(std::string(made.word(twins->first))) + " and " + shown(std::string(made.word(twins->second))) +
                " have one token");
  }
  return made;
}

std::optional<std::string> text_or_none(TokenizerPart& part, const char* key) {
  if (!part.find(key)) return std::nullopt;
  return part.text(key);
}

// Both words of a merge: ["a", "b"], or "a b" in older files.
std::pair<std::string_view, std::string_view> words_of(const Json& merge, const TokenizerPart& part) {
  if (merge.is_string()) {
    const std::string_view text = merge.get_ref<const std::string&>();
    const size_t space = text.find(' ');
    if (space != text.npos && text.find(' ', space + 1) == text.npos) return {text.substr(0, space), text.substr(space + 1)};
  } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return {merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>()};
  }
  part.refuse("a merge is " + shown(merge) + ", expected two words");
}

std::unique_ptr<Model> read_bpe(TokenizerPart& part) {
  BpeOptions options;
  options.unknown = text_or_none(part, "unk_token");
  options.prefix = text_or_none(part, "continuing_subword_prefix").value_or("");
  options.suffix = text_or_none(part, "end_of_word_suffix").value_or("");
  options.fuse_unknown = part.flag("fuse_unk", false);
  options.byte_fallback = part.flag("byte_fallback", false);
  options.ignore_merges = part.flag("ignore_merges", false);
  if (const Json* dropout = part.find("dropout"); dropout && *dropout != 0) {
    part.refuse("its dropout is " + shown(*dropout) + ", expected null: it draws other tokens each time");
  }
  Vocabulary vocabulary = read_vocabulary(part);
  std::vector<Merge> merges;
  const Json& list = part.list("merges");
  merges.reserve(list.size());
  std::string whole;
  for (const Json& each : list) {
    if (each.is_string() && each.get_ref<const std::string&>().rfind("#version", 0) == 0) continue;
    const auto [left, right] = words_of(each, part);
    if (right.size() < options.prefix.size()) part.refuse("the merge " + shown(each) + " has a second word without the prefix");
    whole.assign(left).append(right.substr(options.prefix.size()));
    const Merge merge = {vocabulary.find(left), vocabulary.find(right), vocabulary.find(whole)};
    for (const auto& [place, word] : {std::pair(merge.left, left), {merge.right, right}, {merge.made, std::string_view(whole)}}) {
      if (place == Vocabulary::none) {
        part.refuse("the merge " + shown(each) + " needs the word " + shown(std::string(word)) + ", which is not in the vocab");
      }
    }
    merges.push_back(merge);
  }
  return std::make_unique<Bpe>(std::move(vocabulary), merges, std::move(options));
}

std::unique_ptr<Model> read_unigram(TokenizerPart& part) {
  const bool byte_fallback = part.flag("byte_fallback", false);
  const Json& list = part.list("vocab");
  std::vector<Vocabulary::Entry> entries;
  std::vector<double> scores;
  entries.reserve(list.size());
  scores.reserve(list.size());
  for (const Json& each : list) {
    if (!each.is_array() || each.size() != 2 || !each[0].is_string() || !each[1].is_number()) {
      part.refuse("an entry of vocab is " + shown(each) + ", expected a word and its score");
    }
    const std::string& word = each[0].get_ref<const std::string&>();
    check_word(word, part);
    entries.push_back({word, static_cast<uint32_t>(entries.size())});
    scores.push_back(each[1].get<double>());
  }
  std::optional<uint32_t> unknown;
  if (part.find("unk_id")) {
    const int64_t given = part.count("unk_id");
    if (given >= static_cast<int64_t>(entries.size())) {
      part.refuse("its unk_id is " + std::to_string(given) + ", and the vocab has " + std::to_string(entries.size()) + " words");
    }
    unknown = static_cast<uint32_t>(given);
  }
  return std::make_unique<Unigram>(Vocabulary(std::move(entries)), std::move(scores), unknown, byte_fallback);
}

std::unique_ptr<Model> read_word_piece(TokenizerPart& part) {
  const std::string unknown = part.text("unk_token"), prefix = part.text("continuing_subword_prefix");
  const auto most = static_cast<size_t>(part.count("max_input_chars_per_word"));
  return std::make_unique<WordPiece>(read_vocabulary(part), unknown, prefix, most);
}

// What a model without a type is: older files name none.
const char* type_of(const Json& value) {
  if (!value.is_object()) return nullptr;
  if (value.contains("merges")) return "BPE";
  if (value.contains("max_input_chars_per_word")) return "WordPiece";
  return value.contains("vocab") && value.at("vocab").is_array() ? "Unigram" : "WordLevel";
}

}  // namespace

std::unique_ptr<Model> read_model(const Json& value, const std::string& where) {
  TokenizerPart part(value, "model", where, type_of(value));
  std::unique_ptr<Model> made;
  if (part.type() == "BPE") {
    made = read_bpe(part);
  } else if (part.type() == "Unigram") {
    made = read_unigram(part);
  } else if (part.type() == "WordPiece") {
    made = read_word_piece(part);
  } else if (part.type() == "WordLevel") {
    const std::string unknown = part.text("unk_token");
    made = std::make_unique<WordLevel>(read_vocabulary(part), unknown);
  } else {
    part.refuse_type("BPE, Unigram, WordPiece and WordLevel");
  }
  part.expect_no_more();
  return made;
}

}  // namespace attn
