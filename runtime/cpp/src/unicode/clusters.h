// Where a reader sees one character: grapheme clusters (Unicode Standard Annex 29, extended).
#pragma once

#include <cstddef>

#include "util/unicode.h"

namespace attn {

// Where the cluster ends that begins at `begin` of a text, which is not its end.
size_t cluster_end(const Characters& text, size_t begin);

}  // namespace attn
