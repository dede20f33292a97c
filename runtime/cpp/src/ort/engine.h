// A session of ONNX Runtime as an Engine. The Python twin is attn_runtime/ort/engine.py.
#pragma once

#include <memory>
#include <string>

#include "engine/engine.h"
#include "ort/library.h"

namespace attn {

// Where the values of a graph are: in host memory, which it works on in place, or on a GPU, which every run copies to and from.
enum class OrtPlace { host, gpu };

// Holds what the file really takes and gives against what the manifest says: bundle_error where they differ. `log` is what the session
// was told to log to, kept as long as it.
std::unique_ptr<Engine> make_ort_engine(const OrtLibrary& library, OrtHeld<OrtSession> session, std::shared_ptr<void> log,
                                        const GraphFile& graph, const std::string& device, OrtPlace place);

}  // namespace attn
