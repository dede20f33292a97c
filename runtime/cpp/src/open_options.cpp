// attn_open_options as the library's own. A program may have been built with an older header, whose struct is shorter, or a newer one.
#include <algorithm>
#include <cstddef>
#include <cstring>

#include "engine.h"
#include "error.h"

namespace attn {
namespace {

constexpr size_t kFirst = offsetof(attn_open_options, threads);  // what the first header had is all there
constexpr int kMostThreads = 1024;                               // ONNX Runtime would start them all
constexpr size_t kLargest = 4096;                                // more than that is no size, but what lay in the memory

std::optional<std::string> text_of(const char* given) {
  if (!given) return std::nullopt;
  return given;
}

}  // namespace

OpenOptions OpenOptions::of(const attn_open_options* given) {
  OpenOptions options;
  if (!given) return options;
  if (given->size < kFirst || given->size > kLargest) {
    throw usage_error("options.size is " + std::to_string(given->size) + "; begin with attn_open_options o = ATTN_OPEN_OPTIONS_INIT");
  }
  attn_open_options all = ATTN_OPEN_OPTIONS_INIT;
  std::memcpy(&all, given, std::min(given->size, sizeof all));
  const auto* bytes = reinterpret_cast<const unsigned char*>(given);
  if (std::any_of(bytes + std::min(given->size, sizeof all), bytes + given->size, [](unsigned char byte) { return byte != 0; })) {
    throw usage_error("options: one is set that this version of the library does not know; take a newer attn_runtime");
  }
  if (all.threads < 0 || all.threads > kMostThreads) {
    throw usage_error("threads: got " + std::to_string(all.threads) + ", expected 0 (all cores) or up to " +
                      std::to_string(kMostThreads));
  }
  if (all.device) options.device = all.device;
  options.backend = text_of(all.backend), options.graph = text_of(all.graph), options.precision = text_of(all.precision);
  options.cache = text_of(all.cache), options.library = text_of(all.library);
  options.threads = all.threads;
  options.low_memory = all.low_memory != 0;
  return options;
}

}  // namespace attn
