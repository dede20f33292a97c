#include "unicode/properties.h"

#include <algorithm>
#include <iterator>

namespace attn {
namespace {

#include "unicode/properties.inc"

}  // namespace

Properties properties_of(char32_t value) {
  const uint32_t* found = std::upper_bound(std::begin(properties), std::end(properties), value << 11 | 0x7FF);
  return {records[*(found - 1) & 0x7FF]};  // the first range begins at 0
}

}  // namespace attn
