// The handle of a bundle.
#pragma once

#include <attn/runtime.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bundle/bundle.h"
#include "preprocess/wav.h"
#include "util/forks.h"

struct attn_bundle {
  std::shared_ptr<const attn::Bundle> bundle;

  // What follows is under attn::bundle_handles(): many threads may use one handle. What was handed out as pointers lives as long as it.
  mutable std::optional<std::vector<std::string>> labels;
  mutable std::vector<const char*> label_pointers;

  // Recordings from streams that were asked for their size, and can't be read again. By what attn::identity tells of the stream.
  mutable std::map<std::string, std::shared_ptr<const attn::Recording>> streams;
};

namespace attn {

// One for all handles, since a child of a fork must find it free; and so nothing waits for anybody else while it is held.
ForkMutex& bundle_handles();

}  // namespace attn
