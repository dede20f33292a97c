// Putting a backend here is registering it.
#include "session/backends.h"

#include "openvino/backend.h"
#include "ort/backend.h"
#include "trt/backend.h"

namespace attn {

const std::vector<std::unique_ptr<Backend>>& backends() {
  static const auto* all = [] {
    auto* list = new std::vector<std::unique_ptr<Backend>>;  // never destroyed, as little as what it loads
    list->push_back(trt_backend());  // an engine that fits was built for this very GPU
    list->push_back(ort_backend());
    list->push_back(openvino_backend());
    list->push_back(ort_rtx_backend());
    list->push_back(ort_tensorrt_backend());
    return list;
  }();
  return *all;
}

}  // namespace attn
