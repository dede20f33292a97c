#include "openvino/engine.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <set>
#include <utility>

#include "ort/cores.h"

namespace attn {
namespace {

// It compares and divides whole numbers as float32, whatever their type, and keeps 64 bits in 32.
constexpr int64_t kMostWhole = 1 << 24;
// Sizes that a graph is compiled again for.
constexpr size_t kMostFixed = 4;

// ov_element_type_e, by attn_dtype.
constexpr std::array<unsigned, 13> kTypes{0, 3, 4, 5, 7, 8, 9, 10, 16, 17, 18, 19, 1};

template <typename Whole>
void check_whole(const std::string& name, const View& view, const std::string& where) {
  const auto* begin = view.as<Whole>();
  const auto [low, high] = std::minmax_element(begin, begin + elements(view.shape));
  if (elements(view.shape) == 0) return;
  if (*high <= static_cast<Whole>(kMostWhole) && (*low >= 0 || static_cast<int64_t>(*low) >= -kMostWhole)) return;
  throw input_error(where + ": input \"" + name + "\" has whole numbers from " + std::to_string(*low) + " to " + std::to_string(*high) +
                    ", and OpenVINO tells those beyond " + std::to_string(kMostWhole) + " apart as float32 does" + kOrtSays);
}

// Shared by the engine and its bound calls, which may outlive it.
struct Opened {
  explicit Opened(std::unique_ptr<OvCompiler> made)
      : compiler(std::move(made)), library(compiler->library), api(library.api), graph(compiler->graph), any_size(compiler->compile()) {
    std::set<std::optional<std::string>> sized;
    for (const TensorSpec& spec : graph.inputs) {
      for (const Dim& dim : spec.dims) sized.insert(dim.name);
    }
    for (const TensorSpec& spec : graph.outputs) {
      const bool told = std::all_of(spec.dims.begin(), spec.dims.end(), [&](const Dim& dim) { return !dim.dynamic() || sized.count(dim.name); });
      by_values.push_back(spec.dims.empty() || !told);
    }
  }

  void check(int status) const {
    if (status) throw backend_error(graph.where + ": OpenVINO failed on cpu: " + library.failure(status));
  }

  void check_values(const std::vector<View>& inputs) const {
    for (size_t i = 0; i < inputs.size(); ++i) {
      const std::string& name = graph.inputs[i].name;
      switch (inputs[i].dtype) {
        case ATTN_INT32: check_whole<int32_t>(name, inputs[i], graph.where); break;
        case ATTN_INT64: check_whole<int64_t>(name, inputs[i], graph.where); break;
        case ATTN_UINT32: check_whole<uint32_t>(name, inputs[i], graph.where); break;
        case ATTN_UINT64: check_whole<uint64_t>(name, inputs[i], graph.where); break;
        default: break;
      }
    }
  }

  OvHeld<ov_infer_request> request(const OvCompiled& compiled) const {
    ov_infer_request* made = nullptr;
    check(api.compiled_model_create_infer_request(compiled.model.get(), &made));
    return {made, api.infer_request_free};
  }

  // Have a request read or write somebody's memory.
  void set(ov_infer_request* request, const ov_output_const_port* port, const View& view) const {
    static char nothing;  // where a tensor without elements lies
    Shape shape = view.shape;
    ov_tensor* made = nullptr;
    check(api.tensor_create_from_host_ptr(kTypes.at(view.dtype), {static_cast<int64_t>(shape.size()), shape.data()},
                                          view.data ? view.data : &nothing, &made));
    const OvHeld<ov_tensor> tensor(made, api.tensor_free);
    check(api.infer_request_set_tensor_by_const_port(request, port, made));
  }

  // Copy an answer to `output`, or into new memory where it has none. input_error for another shape than the one it has.
  void take(const ov_infer_request* request, const ov_output_const_port* port, const TensorSpec& spec, Output& output) const {
    ov_tensor* found = nullptr;
    check(api.infer_request_get_tensor_by_const_port(request, port, &found));
    const OvHeld<ov_tensor> tensor(found, api.tensor_free);
    Shape shape;
    // Of a tensor without axes, the C interface (2026.4.1) refuses to tell the shape.
    OvShape sizes{};
    if (const int status = api.tensor_get_shape(found, &sizes); status == 0) {
      shape.assign(sizes.dims, sizes.dims + sizes.rank);
      api.shape_free(&sizes);
    } else if (status != kOvRefused) {
      check(status);
    }
    if (!output.view.data) {
      output.made = Tensor(spec.name, spec.dtype, shape);
      output.view = output.made.view();
    } else if (output.view.shape != shape) {
      throw input_error(graph.where + ": an output's shape follows from the values, and these give another than the bound one. "
                        "Call run instead of bind.");
    }
    size_t bytes = 0;
    void* data = nullptr;
    check(api.tensor_get_byte_size(found, &bytes));
    if (bytes != output.view.bytes()) {
      throw backend_error(graph.where + ": output \"" + spec.name + "\" has " + std::to_string(bytes) + " bytes from OpenVINO, expected " +
                          std::to_string(output.view.bytes()) + kOrtSays);
    }
    check(api.tensor_data(found, &data));
    if (bytes) std::memcpy(output.view.data, data, bytes);
  }

  // The graph at fixed sizes, for the first few.
  std::shared_ptr<const OvCompiled> compiled_for(const std::vector<View>& inputs) {
    std::vector<Shape> sizes;
    for (const View& view : inputs) sizes.push_back(view.shape);
    const std::lock_guard<std::mutex> only(compiling);
    if (const auto found = fixed.find(sizes); found != fixed.end()) return found->second;
    if (!fixed_sizes || fixed.size() >= kMostFixed) return any_size;
    compiler->reshape(sizes);
    return fixed[sizes] = compiler->compile();
  }

  std::unique_ptr<OvCompiler> compiler;
  const OvLibrary& library;
  const OvApi& api;
  const GraphFile& graph;
  std::shared_ptr<const OvCompiled> any_size;
  bool fixed_sizes = false;
  std::vector<bool> by_values;  // outputs whose shapes may follow from values
  std::mutex compiling;         // of the compiler and of what it has made for fixed sizes
  std::map<std::vector<Shape>, std::shared_ptr<const OvCompiled>> fixed;
  std::mutex mutex;
  std::vector<OvHeld<ov_infer_request>> idle;  // requests that no thread is using
};

class Call : public BoundCall {
 public:
  Call(std::shared_ptr<Opened> opened, std::vector<View> inputs, const std::vector<View>& outputs)
      : opened_(std::move(opened)), compiled_(opened_->compiled_for(inputs)), inputs_(std::move(inputs)), request_(opened_->request(*compiled_)) {
    for (size_t i = 0; i < inputs_.size(); ++i) opened_->set(request_.get(), compiled_->inputs[i].get(), inputs_[i]);
    for (size_t i = 0; i < outputs.size(); ++i) {
      // A buffer of another size than the answer's would be filled as far as it goes, without an error.
      if (opened_->by_values[i]) {
        copied_.push_back({i, Output{outputs[i], {}}});
      } else {
        opened_->set(request_.get(), compiled_->outputs[i].get(), outputs[i]);
      }
    }
  }

  void run() override {
    opened_->check_values(inputs_);
    if (const int status = opened_->api.infer_request_infer(request_.get())) opened_->check(status);
    for (auto& [place, output] : copied_) opened_->take(request_.get(), compiled_->outputs[place].get(), opened_->graph.outputs[place], output);
  }

 private:
  std::shared_ptr<Opened> opened_;
  std::shared_ptr<const OvCompiled> compiled_;
  std::vector<View> inputs_;
  std::vector<std::pair<size_t, Output>> copied_;
  OvHeld<ov_infer_request> request_;
};

class OvEngine : public Engine {
 public:
  explicit OvEngine(std::shared_ptr<Opened> opened) : opened_(std::move(opened)) {}

  void run(const std::vector<View>& inputs, std::vector<Output>& outputs) override {
    Opened& opened = *opened_;
    opened.check_values(inputs);
    OvHeld<ov_infer_request> request = idle();
    for (size_t i = 0; i < inputs.size(); ++i) opened.set(request.get(), opened.any_size->inputs[i].get(), inputs[i]);
    opened.check(opened.api.infer_request_infer(request.get()));
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (outputs[i].wanted) opened.take(request.get(), opened.any_size->outputs[i].get(), opened.graph.outputs[i], outputs[i]);
    }
    const std::lock_guard<std::mutex> only(opened.mutex);
    opened.idle.push_back(std::move(request));
  }

  std::unique_ptr<BoundCall> bind(const std::vector<View>& inputs, const std::vector<View>& outputs) override {
    return std::make_unique<Call>(opened_, inputs, outputs);
  }

 private:
  // One of those, or a new one for the first call and where other threads use all of them.
  OvHeld<ov_infer_request> idle() {
    {
      const std::lock_guard<std::mutex> only(opened_->mutex);
      if (!opened_->idle.empty()) {
        OvHeld<ov_infer_request> found = std::move(opened_->idle.back());
        opened_->idle.pop_back();
        return found;
      }
    }
    return opened_->request(*opened_->any_size);
  }

  std::shared_ptr<Opened> opened_;
};

}  // namespace

OvCompiler::OvCompiler(const OvLibrary& loaded, const GraphFile& opened, const OpenOptions& options)
    : library(loaded), graph(opened), core_(loaded.core(opened.where)), model_(nullptr, loaded.api.model_free) {
  const std::optional<Cores> cores = own_cores();
  threads_ = std::to_string(options.threads ? options.threads : cores ? cores->usable : 0);
  static auto& mutex = *new std::mutex;  // of that property, which the Core has for all
  const BeforeForks reading;
  const std::lock_guard<std::mutex> only(mutex);
  // Mapped into memory, a file that is written over would change answers of an open session.
  const OvProperty mapped{"ENABLE_MMAP", options.low_memory ? "YES" : "NO"};
  check(library.api.core_set_properties(core_, "", 1, &mapped));
  ov_model* model = nullptr;
  check(library.api.core_read_model(core_, graph.precision->file.c_str(), nullptr, &model));
  model_.reset(model);
}

std::shared_ptr<const OvCompiled> OvCompiler::compile() const {
  const OvProperty properties[] = {
      // float32 is float32, keys and values are kept in it, and weights of 4 or 8 bits are multiplied with activations as they are. What a
      // graph has in bfloat16 is computed in it all the same, and what was kept in float32 beside it stays float32.
      {"INFERENCE_PRECISION_HINT", "f32"},
      {"EXECUTION_MODE_HINT", "ACCURACY"},
      {"DYNAMIC_QUANTIZATION_GROUP_SIZE", "0"},
      {"KV_CACHE_PRECISION", "f32"},
      // One request at a time on all threads; pinned, those of two sessions would share the first cores.
      {"PERFORMANCE_HINT", "LATENCY"},
      {"ENABLE_CPU_PINNING", "NO"},
      {"INFERENCE_NUM_THREADS", threads_.c_str()},
  };
  const BeforeForks compiling;
  ov_compiled_model* made = nullptr;
  check(library.api.core_compile_model_props(core_, model_.get(), "CPU", std::size(properties), properties, &made));
  OvHeld<ov_compiled_model> held(made, library.api.compiled_model_free);
  auto inputs = ports(made, true), outputs = ports(made, false);
  return std::make_shared<OvCompiled>(OvCompiled{std::move(held), std::move(inputs), std::move(outputs)});
}

void OvCompiler::reshape(const std::vector<Shape>& sizes) {
  std::vector<const char*> names;
  std::vector<std::vector<OvDim>> dims;
  std::vector<OvPartialShape> shapes;
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i].empty()) continue;  // the C interface (2026.4.1) would make an axis of any size of it
    names.push_back(graph.inputs[i].name.c_str());
    dims.emplace_back();
    for (const int64_t size : sizes[i]) dims.back().push_back({size, size});
    const auto rank = static_cast<int64_t>(sizes[i].size());
    shapes.push_back({{rank, rank}, dims.back().data()});
  }
  check(library.api.model_reshape(model_.get(), names.data(), shapes.data(), names.size()));
}

bool OvCompiler::has_bfloat16_units() const {
  char* told = nullptr;
  check(library.api.core_get_property(core_, "CPU", "OPTIMIZATION_CAPABILITIES", &told));
  const std::string all = std::string(" ") + told + " ";
  library.api.free(told);
  return all.find(" BF16 ") != std::string::npos;
}

void OvCompiler::check(int status) const {
  if (!status) return;
  throw backend_error(graph.where + ": OpenVINO does not take " + graph.precision->file.filename().string() + ": " + library.failure(status) +
                      kOrtSays);
}

std::vector<OvHeld<ov_output_const_port>> OvCompiler::ports(const ov_compiled_model* compiled, bool inputs) const {
  const auto find = inputs ? library.api.compiled_model_input_by_name : library.api.compiled_model_output_by_name;
  std::vector<OvHeld<ov_output_const_port>> found;
  for (const TensorSpec& spec : inputs ? graph.inputs : graph.outputs) {
    ov_output_const_port* port = nullptr;
    if (find(compiled, spec.name.c_str(), &port) != 0) {
      throw backend_error(graph.where + ": OpenVINO has lost " + spec.name + " of this graph" + kOrtSays);
    }
    found.emplace_back(port, library.api.output_const_port_free);
  }
  return found;
}

std::unique_ptr<Engine> make_openvino_engine(std::unique_ptr<OvCompiler> compiler, bool fixed_sizes) {
  auto opened = std::make_shared<Opened>(std::move(compiler));
  opened->fixed_sizes = fixed_sizes;
  return std::make_unique<OvEngine>(std::move(opened));
}

}  // namespace attn
