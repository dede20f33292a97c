#include "tokenizer/post_processors.h"

#include <algorithm>

#include "tokenizer/parts.h"

namespace attn {
namespace {

using AddedPart = PostProcessor::Part;
using AddedParts = std::vector<AddedPart>;

// Most tokens around a text: without a bound a small file could make it fill any memory.
constexpr size_t most_tokens = 4096;

PostProcessor nothing() {
  const AddedPart first = {AddedPart::Kind::first, 0, {}};
  return {{first}, AddedParts{first, {AddedPart::Kind::second, 1, {}}}, false};
}

bool is_token(const Json& value) { return value.is_number_integer() && value.get<int64_t>() >= 0 && value.get<int64_t>() < UINT32_MAX; }

// ["[SEP]", 102]
int64_t token_of(TokenizerPart& part, const char* key) {
  const Json& found = part.list(key);
  if (found.size() != 2 || !found[0].is_string() || !is_token(found[1])) {
    part.refuse(std::string(key) + " is " + shown(found) + ", expected a word and its token");
  }
  return found[1].get<int64_t>();
}

// BERT's: [CLS] A [SEP] B [SEP]; RoBERTa's: <s> A </s> </s> B </s>, all of one type.
PostProcessor around(int64_t begin, int64_t end, bool roberta) {
  const int64_t type = roberta ? 0 : 1;
  const AddedPart open = {AddedPart::Kind::tokens, 0, {begin}}, first = {AddedPart::Kind::first, 0, {}}, close = {AddedPart::Kind::tokens, 0, {end}};
  AddedParts pair = {open, first, close};
  if (roberta) pair.push_back(close);
  pair.push_back({AddedPart::Kind::second, type, {}});
  pair.push_back({AddedPart::Kind::tokens, type, {end}});
  return {{open, first, close}, pair};
}

AddedPart read_piece(const Json& value, const Json& special, const TokenizerPart& part) {
  const auto refused = [&]() { part.refuse("the piece " + shown(value) + " is not supported"); };
  if (!value.is_object() || value.size() != 1) refused();
  const auto& [kind, piece] = value.get_ref<const Json::object_t&>().front();
  if (!piece.is_object() || piece.size() != 2 || !piece.contains("id") || !piece.at("id").is_string() || !piece.contains("type_id") ||
      !is_token(piece.at("type_id"))) {
    refused();
  }
  const std::string& id = piece.at("id").get_ref<const std::string&>();
  const int64_t type = piece.at("type_id").get<int64_t>();
  if (kind == "Sequence" && id == "A") return {AddedPart::Kind::first, type, {}};
  if (kind == "Sequence" && id == "B") return {AddedPart::Kind::second, type, {}};
  if (kind != "SpecialToken") refused();
  const auto found = special.find(id);
  if (found == special.end()) part.refuse("its special_tokens lack " + shown(id));
  if (!found->is_object() || !found->contains("ids") || !found->at("ids").is_array() || found->at("ids").size() > most_tokens ||
      !std::all_of(found->at("ids").begin(), found->at("ids").end(), is_token)) {
    part.refuse("the special token " + shown(id) + " is " + shown(*found) + ", expected ids");
  }
  return {AddedPart::Kind::tokens, type, found->at("ids").get<std::vector<int64_t>>()};
}

AddedParts read_template(const char* key, const Json& special, TokenizerPart& part) {
  AddedParts made;
  size_t tokens = 0;
  for (const Json& each : part.list(key)) {
    made.push_back(read_piece(each, special, part));
    tokens += 1 + made.back().tokens.size();
    if (tokens > most_tokens) part.refuse(std::string(key) + " adds more than " + std::to_string(most_tokens) + " tokens");
  }
  return made;
}

size_t count_of(const AddedParts& parts, AddedPart::Kind kind) {
  return static_cast<size_t>(std::count_if(parts.begin(), parts.end(), [&](const AddedPart& each) { return each.kind == kind; }));
}

PostProcessor of_templates(TokenizerPart& part) {
  const Json* special = part.find("special_tokens");
  if (!special || !special->is_object()) part.refuse("has no special_tokens, expected their names and ids");
  PostProcessor made = {read_template("single", *special, part), read_template("pair", *special, part)};
  if (count_of(made.single, AddedPart::Kind::first) != 1 || count_of(made.single, AddedPart::Kind::second)) {
    part.refuse("its template for one text is " + shown(part.list("single")) + ", expected the sequence A once");
  }
  if (count_of(*made.pair, AddedPart::Kind::first) != 1 || count_of(*made.pair, AddedPart::Kind::second) != 1) made.pair.reset();
  return made;
}

}  // namespace

PostProcessor read_post_processor(const Json& value, const std::string& where) {
  if (value.is_null()) return nothing();
  TokenizerPart part(value, "post_processor", where);
  PostProcessor made = nothing();
  if (part.type() == "TemplateProcessing") {
    made = of_templates(part);
  } else if (part.type() == "BertProcessing" || part.type() == "RobertaProcessing") {
    const bool roberta = part.type() == "RobertaProcessing";
    // Which spaces the places of tokens leave out; it changes no token.
    for (const char* key : {"trim_offsets", "add_prefix_space"}) {
      if (roberta) part.flag(key);
    }
    made = around(token_of(part, "cls"), token_of(part, "sep"), roberta);
  } else if (part.type() == "ByteLevel") {
    for (const char* key : {"trim_offsets", "add_prefix_space", "use_regex"}) part.flag(key, true);
  } else if (part.type() == "Sequence") {
    for (const Json& each : part.list("processors")) {
      const PostProcessor step = read_post_processor(each, where);
      if (!step.is_template) continue;
      if (made.is_template) part.refuse("has several steps that add tokens, which is not supported");
      made = step;
    }
  } else {
    part.refuse_type("TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel and Sequence");
  }
  part.expect_no_more();
  return made;
}

}  // namespace attn
