// Where engines lie and which of them fits: BUNDLE/engines/GRAPH.PRECISION.FLAVOUR.engine, its key beside it. None is ever built here. The
// Python twin is attn_runtime/trt/engine_files.py.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "trt/key.h"

namespace attn {

struct EngineFile {
  std::filesystem::path path;
  EngineKey key;
};

// The engine that was built from that graph and precision and fits `machine`. Raises backend_error when there is none, with the fields in
// which the nearest one differs and the command that builds it; engine_error when none fits and a key is damaged. The engine
// itself is not read: read_plan does.
EngineFile find_engine(const GraphFile& graph, const Machine& machine);

// The engine's bytes, which are those that its key tells of. Raises engine_error where the file is missing or damaged: no library may read
// a plan that was changed.
std::vector<char> read_plan(const EngineFile& engine);

// The command line that builds an engine for `graph`.
std::string build_command(const GraphFile& graph);

}  // namespace attn
