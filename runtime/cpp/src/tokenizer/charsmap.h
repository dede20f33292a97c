// The normalization that a sentencepiece model brings with it: texts and what they become, as its precompiled_charsmap.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "util/unicode.h"

namespace attn {

class Charsmap {
 public:
  // In base64, as tokenizer.json has it. Raises std::invalid_argument that says what is wrong.
  explicit Charsmap(const std::string& base64);

  // As the `tokenizers` library does it: by clusters of characters where these are of less than six bytes, else by characters.
  void apply(Characters& text) const;

 private:
  // What the shortest prefix that is known becomes; nullopt where there is none.
  std::optional<std::string_view> find(std::string_view bytes) const;

  std::vector<uint32_t> units_;  // a double array (Darts)
  std::string texts_;            // each with a zero behind it
};

}  // namespace attn
