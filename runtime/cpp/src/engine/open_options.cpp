// attn_open_options as the library's own.
#include <cstddef>

#include "engine/engine.h"
#include "engine/struct_size.h"
#include "util/error.h"

namespace attn {
namespace {

constexpr size_t kFirst = offsetof(attn_open_options, threads);  // what the first header had is all there
constexpr int kMostThreads = 1024;                               // ONNX Runtime would start them all

std::optional<std::string> text_of(const char* given) {
  if (!given) return std::nullopt;
  return given;
}

}  // namespace

OpenOptions OpenOptions::of(const attn_open_options* given) {
  OpenOptions options;
  if (!given) return options;
  const attn_open_options all =
      whole_options(*given, attn_open_options ATTN_OPEN_OPTIONS_INIT, kFirst, "options",
                    "options.size is " + std::to_string(given->size) + "; begin with attn_open_options o = ATTN_OPEN_OPTIONS_INIT");
  options.adapt = all.threads == ATTN_THREADS_AUTO;
  if (!options.adapt && (all.threads < 0 || all.threads > kMostThreads)) {
    throw usage_error("threads: got " + std::to_string(all.threads) + ", expected 0 (all cores), up to " + std::to_string(kMostThreads) +
                      ", or ATTN_THREADS_AUTO");
  }
  if (all.device) options.device = all.device;
  options.backend = text_of(all.backend), options.graph = text_of(all.graph), options.precision = text_of(all.precision);
  options.cache = text_of(all.cache), options.library = text_of(all.library);
  options.threads = options.adapt ? 0 : all.threads;
  options.low_memory = all.low_memory != 0, options.stop_spinning = all.stop_spinning != 0;
  return options;
}

}  // namespace attn
