// Bundles with engines of the fake TensorRT, and the way to that.
#pragma once

#include <attn/runtime.h>

#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "bundle/bundle.h"
#include "support/scratch.h"
#include "trt/engines.h"

namespace attn {

// Doubles x; the profiles end below what the graph promises, so that one can be missed.
inline const std::string kDoubles = "input x float batch,3\noutput y float batch,3\nprofile x 1,3 2,3 3,3\nscratch 1000\n";

class EngineBundle {
 public:
  explicit EngineBundle(const std::function<void(Json&)>& change = {}) : path_(make_bundle(scratch_, "small.attn", change)) {}

  const Scratch& scratch() const { return scratch_; }
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path engines() const { return path_ / "engines"; }
  std::shared_ptr<const Bundle> open() const { return Bundle::open(path_); }
  GraphFile graph(const std::string& precision = "fp32") const {
    auto bundle = open();
    const Graph& graph = bundle->graphs[0];
    const Precision& found = graph.precision(precision, bundle->where);
    return {bundle, &graph, &found, bundle->where, graph.inputs, graph.outputs};
  }

  // An engine that fits the fake machine, but for what `change` does to its key.
  std::filesystem::path put(const std::string& plan, const std::function<void(Json&)>& change = {},
                            const std::string& name = "model.fp32.tensorrt") const {
    Json key = this->key(plan);
    if (change) change(key);
    scratch_.write("small.attn/engines/" + name + ".engine.json", key.dump());
    return scratch_.write("small.attn/engines/" + name + ".engine", plan);
  }

  Json key(const std::string& plan) const {
    const auto sha256 = [](const std::string& text) { return sha256_text(text); };
    const std::string model = sha256(onnx_with_data_in("model.onnx.data")) + "  model.onnx\n" + sha256("weights") + "  model.onnx.data\n";
    const Json audit = {{"type", "fp32"}, {"layers", 1}, {"counts", Json::object()}, {"unaudited", ""}, {"kept", Json::array()},
                        {"offenders", Json::array()}};
    const Json shape = {{"min", {1, 3}}, {"opt", {2, 3}}, {"max", {3, 3}}};
    return {{"schema_version", 1},
            {"model", "small"},
            {"file", "model.onnx"},
            {"model_sha256", sha256(model)},
            {"graph", "model"},
            {"precision", "fp32"},
            {"type", "fp32"},
            {"profiles", Json::array({Json{{"x", shape}}})},
            {"flavour", "tensorrt"},
            {"version", "10.9.0.34"},
            {"compute_capabilities", {"8.9"}},
            {"os", os_name()},
            {"engine_sha256", sha256(plan)},
            {"engine_size", plan.size()},
            {"scratch", nullptr},
            {"workspace", nullptr},
            {"level", nullptr},
            {"tf32", false},
            {"audit", audit},
            {"attention", Json::array()},
            {"seconds", 1.5},
            {"created", "2026-01-31T12:00:00Z"},
            {"builder", "0.1.0"}};
  }

 private:
  Scratch scratch_;
  std::filesystem::path path_;
};

inline Machine fake_machine() { return {{{"tensorrt", "10.9.0.34"}}, "8.9", os_name()}; }

}  // namespace attn
