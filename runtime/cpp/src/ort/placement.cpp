#include "ort/placement.h"

#include <algorithm>
#include <set>

#include "util/error.h"
#include "util/names.h"

namespace attn {
namespace {

const char kCpu[] = "CPUExecutionProvider";

// The work of a model, as opposed to the arithmetic on shapes that the CUDA provider itself leaves to the CPU.
bool heavy(const std::string& op) {
  for (const char* part : {"MatMul", "Gemm", "Conv", "Einsum", "Attention", "LSTM", "GRU", "RNN", "Softmax", "Normalization", "Pool",
                           "Resize"}) {
    if (op.find(part) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

void ORT_API_CALL PlacementLog::hear(void* self, OrtLoggingLevel, const char*, const char*, const char*, const char* message) {
  auto& log = *static_cast<PlacementLog*>(self);
  if (!log.listening_ || !message) return;
  try {
    const std::lock_guard<std::mutex> only(log.mutex_);
    log.take(message);
  } catch (...) {  // no memory: then too little is known, and check_placed refuses
  }
}

// "All nodes placed on [P]. Number of nodes: 9" -- or " Node(s) placed on [P]. Number of nodes: 2" and a line "  Op (name)" for each.
void PlacementLog::take(const std::string& message) {
  static const std::string mark = "placed on [";
  if (const size_t found = message.find(mark); found != std::string::npos) {
    const size_t from = found + mark.size(), to = message.find(']', from);
    if (to == std::string::npos) return;
    provider_ = message.substr(from, to - from);
    if (message.find("All nodes") != std::string::npos) placed_.push_back({provider_, ""});
    return;
  }
  const size_t from = message.find_first_not_of(' ');
  const size_t open = message.find(" (");
  if (!provider_.empty() && from > 0 && from != std::string::npos && open != std::string::npos && open > from && message.back() == ')') {
    placed_.push_back({provider_, message.substr(from, open - from)});
  } else {
    provider_.clear();
  }
}

std::vector<std::string> heavy_on_cpu(const std::vector<Placed>& placed) {
  std::set<std::string> found;
  for (const Placed& node : placed) {
    if (node.provider == kCpu && heavy(node.op)) found.insert(node.op);
  }
  return {found.begin(), found.end()};
}

void check_placed(const std::vector<Placed>& placed, const std::string& where, const std::string& device,
                  const std::string& provider) {
  if (placed.empty()) {
    throw backend_error(where + ": this ONNX Runtime does not tell whether " + provider + " took the graph on " + device +
                        "; take device cpu, or ONNX Runtime 1.18 to 1.31");
  }
  if (const std::vector<std::string> stray = heavy_on_cpu(placed); !stray.empty()) {
    throw backend_error(where + ": " + device + " was asked for, but ONNX Runtime leaves " + joined(stray) +
                        " to the CPU. Take device cpu, or export in another precision or opset.");
  }
  if (std::any_of(placed.begin(), placed.end(), [&](const Placed& node) { return node.provider == provider; })) return;
  std::set<std::string> others;
  for (const Placed& node : placed) others.insert(node.provider);
  throw backend_error(where + ": " + provider + " was asked for and took none of the nodes, which went to " +
                      joined({others.begin(), others.end()}) + ". Take backend ort.");
}

}  // namespace attn
