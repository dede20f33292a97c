#include "tokenizer/models/bpe.h"

#include <algorithm>

#include "tokenizer/models/byte_tokens.h"
#include "util/error.h"
#include "util/text.h"

namespace attn {
namespace {

constexpr uint32_t no_symbol = UINT32_MAX;

// A merge that may be due.
struct Due {
  uint32_t rank, at;  // at: its left symbol
  Vocabulary::Place made;

  // The heap has the greatest on top.
  bool operator<(const Due& other) const { return rank != other.rank ? rank > other.rank : at > other.at; }
};

}  // namespace

// One of a word, linked with its neighbours; of two that were merged the right one is `none`.
struct Bpe::Symbol {
  Vocabulary::Place place;
  uint32_t begin, end;  // characters
  uint32_t before, behind;
};

Bpe::Bpe(Vocabulary vocabulary, const std::vector<Merge>& merges, BpeOptions options)
    : Model(std::move(vocabulary)), options_(std::move(options)), begins_(this->vocabulary().size() + 1) {
  if (options_.unknown) unknown_ = this->vocabulary().find(*options_.unknown);
  if (options_.byte_fallback) bytes_ = byte_tokens(this->vocabulary());
  for (const Merge& each : merges) ++begins_[each.left + 1];
  for (size_t i = 1; i < begins_.size(); ++i) begins_[i] += begins_[i - 1];
  rights_.resize(merges.size());
  std::vector<uint32_t> next(begins_.begin(), begins_.end() - 1);
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    rights_[next[merges[rank].left]++] = {merges[rank].right, merges[rank].made, static_cast<uint32_t>(rank)};
  }
  for (size_t left = 0; left + 1 < begins_.size(); ++left) {
    std::sort(rights_.begin() + begins_[left], rights_.begin() + begins_[left + 1],
              [](const Right& one, const Right& other) { return one.right != other.right ? one.right < other.right : one.rank > other.rank; });
  }
}

const Bpe::Right* Bpe::merge_of(Vocabulary::Place left, Vocabulary::Place right) const {
  const auto end = rights_.begin() + begins_[left + 1];
  const auto found = std::lower_bound(rights_.begin() + begins_[left], end, right,
                                      [](const Right& each, Vocabulary::Place wanted) { return each.right < wanted; });
  return found == end || found->right != right ? nullptr : &*found;
}

void Bpe::encode_word(const Word& word, std::vector<Piece>& pieces) const {
  const auto count = static_cast<uint32_t>(word.characters());
  if (options_.ignore_merges) {
    if (const Vocabulary::Place place = vocabulary().find(word.text); place != Vocabulary::none) {
      pieces.push_back({vocabulary().token(place), 0, count});
      return;
    }
  }
  std::vector<Symbol> symbols = symbols_of(word);
  merge(symbols);
  for (const Symbol& each : symbols) {
    if (each.place != Vocabulary::none) pieces.push_back({vocabulary().token(each.place), each.begin, each.end});
  }
}

std::vector<Bpe::Symbol> Bpe::symbols_of(const Word& word) const {
  std::vector<Symbol> symbols;
  const auto count = static_cast<uint32_t>(word.characters());
  symbols.reserve(count);
  const auto add = [&](Vocabulary::Place place, uint32_t begin, uint32_t end) {
    const auto at = static_cast<uint32_t>(symbols.size());
    if (at) symbols.back().behind = at;
    symbols.push_back({place, begin, end, at ? at - 1 : no_symbol, no_symbol});
  };
  // The last unknown character waits for others that it may be fused with. Bytes of a character behind it don't end that: as the library has
  // it, they come in front of it.
  std::optional<std::pair<uint32_t, uint32_t>> waiting;
  const auto add_waiting = [&] {
    if (waiting) add(unknown_, waiting->first, waiting->second);
    waiting.reset();
  };
  std::string letters;
  for (uint32_t at = 0; at < count; ++at) {
    letters.clear();
    if (at) letters = options_.prefix;
    letters += word.bytes(at, at + 1);
    if (at + 1 == count) letters += options_.suffix;
    if (const Vocabulary::Place place = vocabulary().find(letters); place != Vocabulary::none) {
      add_waiting();
      add(place, at, at + 1);
      continue;
    }
    const auto known = [&](char each) { return bytes_[static_cast<unsigned char>(each)] != Vocabulary::none; };
    if (options_.byte_fallback && std::all_of(letters.begin(), letters.end(), known)) {
      for (const char each : letters) add(bytes_[static_cast<unsigned char>(each)], at, at + 1);
      continue;
    }
    if (!options_.unknown) continue;
    if (unknown_ == Vocabulary::none) {
      throw bundle_error("BPE error: Unk token \"" + printable(*options_.unknown, 40) + "\" not found in the vocabulary");
    }
    if (waiting && options_.fuse_unknown) {
      waiting->second = at + 1;
    } else {
      add_waiting();
      waiting = {at, at + 1};
    }
  }
  add_waiting();
  return symbols;
}

void Bpe::merge(std::vector<Symbol>& symbols) const {
  std::vector<Due> due;
  due.reserve(symbols.size());
  const auto found = [&](uint32_t at) {
    const Right* merge = merge_of(symbols[at].place, symbols[symbols[at].behind].place);
    if (merge) due.push_back({merge->rank, at, merge->made});
    return merge != nullptr;
  };
  for (uint32_t at = 0; at + 1 < symbols.size(); ++at) found(at);
  std::make_heap(due.begin(), due.end());
  while (!due.empty()) {
    std::pop_heap(due.begin(), due.end());
    const Due top = due.back();
    due.pop_back();
    Symbol& left = symbols[top.at];
    if (left.place == Vocabulary::none || left.behind == no_symbol) continue;
    Symbol& right = symbols[left.behind];
    // Whether it still is what it was when it became due. As the library has it, only what would be made is compared.
    const Right* now = merge_of(left.place, right.place);
    if (!now || now->made != top.made) continue;
    left.place = top.made;
    left.end = right.end;
    left.behind = right.behind;
    right.place = Vocabulary::none;
    if (left.behind != no_symbol) symbols[left.behind].before = top.at;
    if (left.before != no_symbol && found(left.before)) std::push_heap(due.begin(), due.end());
    if (left.behind != no_symbol && found(top.at)) std::push_heap(due.begin(), due.end());
  }
}

}  // namespace attn
