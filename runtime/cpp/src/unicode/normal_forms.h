// Lower case and Unicode's normal forms, as the `tokenizers` library has them.
#pragma once

#include "util/unicode.h"

namespace attn {

enum class NormalForm { nfc, nfd, nfkc, nfkd };

void normalize(Characters& text, NormalForm form);

// Each character for itself; only U+0130 becomes two.
void lower_case(Characters& text);

}  // namespace attn
