#include "tokenizer/models/unigram.h"

#include <algorithm>
#include <limits>

#include "tokenizer/models/byte_tokens.h"
#include "util/error.h"

namespace attn {
namespace {

// The best way to the end of a character.
struct Best {
  double score = 0;
  uint32_t begin = UINT32_MAX;  // of its last token; UINT32_MAX where no way leads here
  uint32_t token = 0;
};

}  // namespace

Unigram::Unigram(Vocabulary vocabulary, std::vector<double> scores, std::optional<uint32_t> unknown, bool byte_fallback)
    : Model(std::move(vocabulary)), scores_(std::move(scores)), unknown_(unknown) {
  double least = std::numeric_limits<double>::infinity();
  for (const double score : scores_) least = std::min(least, score);
  unknown_score_ = least - 10;
  if (byte_fallback) bytes_ = byte_tokens(this->vocabulary());
}

void Unigram::encode_word(const Word& word, std::vector<Piece>& pieces) const {
  const size_t count = word.characters();
  std::vector<Best> best(count + 1);
  const auto reach = [&](size_t begin, size_t end, double score, uint32_t token) {
    const double whole = score + best[begin].score;
    const bool is_best = best[end].begin == UINT32_MAX || whole > best[end].score;
    if (is_best) best[end] = {whole, static_cast<uint32_t>(begin), token};
    return is_best;
  };
  for (size_t begin = 0; begin < count; ++begin) {
    Vocabulary::Range range = vocabulary().all();
    bool alone = false;  // whether the character is a word
    for (size_t at = begin; at < count && !range.empty(); ++at) {
      vocabulary().narrow(range, word.bytes(at, at + 1));
      const Vocabulary::Place place = vocabulary().whole(range);
      if (place == Vocabulary::none) continue;
      const uint32_t token = vocabulary().token(place);
      reach(begin, at + 1, scores_[token], token);
      alone |= at == begin;
    }
    if (alone) continue;
    if (reach(begin, begin + 1, unknown_score_, unknown_.value_or(0)) && !unknown_) {
      throw bundle_error("Encountered an unknown token but `unk_id` is missing");
    }
  }
  std::vector<Piece> found;
  for (size_t end = count; end > 0;) {
    const Best& each = best[end];
    const bool unknown = unknown_ && each.token == *unknown_;
    if (unknown && !found.empty() && found.back().token == *unknown_) {
      found.back().begin = each.begin;
    } else {
      found.push_back({each.token, each.begin, static_cast<uint32_t>(end)});
    }
    end = each.begin;
  }
  for (auto each = found.rbegin(); each != found.rend(); ++each) {
    if (unknown_ && each->token == *unknown_) {
      add_unknown(word, each->begin, each->end, pieces);
    } else {
      pieces.push_back(*each);
    }
  }
}

void Unigram::add_unknown(const Word& word, uint32_t begin, uint32_t end, std::vector<Piece>& pieces) const {
  const std::string_view text = word.bytes(begin, end);
  // Unknown characters side by side may still be a word, if an improbable one.
  if (const Vocabulary::Place place = vocabulary().find(text); place != Vocabulary::none) {
    pieces.push_back({vocabulary().token(place), begin, end});
    return;
  }
  const auto known = [&](char each) { return bytes_[static_cast<unsigned char>(each)] != Vocabulary::none; };
  if (!bytes_.empty() && std::all_of(text.begin(), text.end(), known)) {
    for (const char each : text) pieces.push_back({vocabulary().token(bytes_[static_cast<unsigned char>(each)]), begin, end});
  } else {
    pieces.push_back({*unknown_, begin, end});
  }
}

}  // namespace attn
