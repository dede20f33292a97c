// The handle of a bundle.
#pragma once

#include <attn/runtime.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bundle/bundle.h"

struct attn_bundle {
  std::shared_ptr<const attn::Bundle> bundle;

  // What was handed out as pointers lives here, as long as the handle. Many threads may use one.
  mutable std::map<std::string, std::string> assets;
  mutable std::optional<std::vector<std::string>> labels;
  mutable std::vector<const char*> label_pointers;
};
