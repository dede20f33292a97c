// Which backend runs a graph on which device, and the sentence that tells why the others were passed over. The Python twin is
// attn_runtime/session/backend_choice.py.
#pragma once

#include <memory>
#include <string>

#include "engine/engine.h"
#include "session/backends.h"

namespace attn {

struct Chosen {
  std::string backend, device, choice;
  std::shared_ptr<Engine> engine;
};

// The first candidate that opens the graph. A device that was named is taken or refused with backend_error; with "auto", a GPU that
// can't be used is passed over, and `choice` says so. Raises usage_error for an unknown name of either.
Chosen open_engine(const GraphFile& graph, const OpenOptions& options, const std::vector<std::unique_ptr<Backend>>& all = backends());

}  // namespace attn
