// Structs of options that begin with their size, as C hands them in.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>

#include "util/error.h"

namespace attn {

constexpr size_t kLargestOptions = 4096;  // bytes; more is no size, but what lay in the memory

// All members: of a program that was compiled with an older header, whose struct is shorter, the missing ones as in `defaults`. A newer
// header's longer struct is taken as long as nothing is set beyond what this library knows; it must be longer, so a new member may not lie in
// the padding of an old one. `called` begins the message about that, `bad_size` is the one for a size below `least`, or beyond any.
template <typename Options>
Options whole_options(const Options& given, Options defaults, size_t least, const std::string& called, const std::string& bad_size) {
  if (given.size < least || given.size > kLargestOptions) throw usage_error(bad_size);
  const size_t known = std::min(given.size, sizeof defaults);
  const auto* bytes = reinterpret_cast<const unsigned char*>(&given);
  if (std::any_of(bytes + known, bytes + given.size, [](unsigned char byte) { return byte != 0; })) {
    throw usage_error(called + ": one is set that this version of the library does not know; take a newer attn_runtime");
  }
  std::memcpy(&defaults, &given, known);
  return defaults;
}

}  // namespace attn
