// Which backend runs a graph on which device, and why the others were passed over. The Python twin is
// attn_runtime/session/backend_choice.py.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "engine/engine.h"
#include "engine/gpus.h"
#include "session/backends.h"

namespace attn {

struct Chosen {
  std::string backend, device;
  std::string choice;       // both and the precision, what else is to be known of its answers, and whether a GPU is left unused
  std::string passed_over;  // why none of the others; "" where there is none
  std::shared_ptr<Engine> engine;
};

// The first candidate that opens the graph; on the CPU with as many threads as there are free cores, where the options say so. A device that
// was named is taken or refused with backend_error; with "auto", a GPU that can't be used is passed over, and `choice` says so. Raises
// usage_error for an unknown name of either. `no_gpu` is asked only where "auto" came down to the CPU.
Chosen open_engine(const GraphFile& graph, const OpenOptions& options, const std::vector<std::unique_ptr<Backend>>& all = backends(),
                   std::optional<std::string> (*no_gpu)(const std::string& device) = why_no_gpu);

}  // namespace attn
