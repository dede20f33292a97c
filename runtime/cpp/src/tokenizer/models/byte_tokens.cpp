#include "tokenizer/models/byte_tokens.h"

namespace attn {
namespace {

std::optional<unsigned> digit_of(char letter) {
  if (letter >= '0' && letter <= '9') return letter - '0';
  if (letter >= 'A' && letter <= 'F') return letter - 'A' + 10;
  if (letter >= 'a' && letter <= 'f') return letter - 'a' + 10;
  return std::nullopt;
}

}  // namespace

std::vector<Vocabulary::Place> byte_tokens(const Vocabulary& vocabulary) {
  static constexpr char digits[] = "0123456789ABCDEF";
  std::vector<Vocabulary::Place> found;
  for (unsigned value = 0; value < 256; ++value) {
    const char word[] = {'<', '0', 'x', digits[value / 16], digits[value % 16], '>'};
    found.push_back(vocabulary.find({word, sizeof word}));
  }
  return found;
}

std::optional<unsigned char> byte_of(std::string_view word) {
  if (word.size() != 6 || word.substr(0, 3) != "<0x" || word[5] != '>') return std::nullopt;
  // A sign in front of one digit counts as well: Rust reads the number so.
  const std::optional<unsigned> high = word[3] == '+' ? 0U : digit_of(word[3]), low = digit_of(word[4]);
  if (!high || !low) return std::nullopt;
  return static_cast<unsigned char>(*high * 16 + *low);
}

}  // namespace attn
