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

struct attn_bundle {
  std::shared_ptr<const attn::Bundle> bundle;

  // What was handed out as pointers lives here, as long as the handle. Many threads may use one.
  mutable std::map<std::string, std::string> assets;
  mutable std::optional<std::vector<std::string>> labels;
  mutable std::vector<const char*> label_pointers;

  // Recordings from streams that were asked for their size, and can't be read again. By what attn::identity tells of the stream.
  mutable std::mutex streams_lock;
  mutable std::map<std::string, attn::Recording> streams;
};
