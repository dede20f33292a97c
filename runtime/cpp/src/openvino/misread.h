// What OpenVINO 2026.4.1 takes and computes otherwise than ONNX says, without an error. The Python twin is `misread` of
// attn_runtime/backends/openvino.py, whose tests hold each rule against the library; tests/cpp holds this one against it.
#pragma once

#include <string>
#include <vector>

#include "bundle/onnx_graph.h"

namespace attn {

struct Misread {
  const OnnxNode* node;
  std::string problem;  // what it does
};

// Of all nodes, in the order of the graph.
std::vector<Misread> misread(const OnnxGraph& graph);

}  // namespace attn
