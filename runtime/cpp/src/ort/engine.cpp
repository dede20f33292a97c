#include "ort/engine.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <utility>

#include "engine/agreement.h"
#include "util/error.h"

namespace attn {
namespace {

// The end of the range of a dim of which an ONNX file says no more than that it varies.
constexpr int64_t kAnySize = std::numeric_limits<int32_t>::max();

constexpr std::array<std::pair<attn_dtype, ONNXTensorElementDataType>, 12> kTypes{{
    {ATTN_FLOAT16, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16},
    {ATTN_FLOAT32, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT},
    {ATTN_FLOAT64, ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE},
    {ATTN_INT8, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8},
    {ATTN_INT16, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16},
    {ATTN_INT32, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32},
    {ATTN_INT64, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64},
    {ATTN_UINT8, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8},
    {ATTN_UINT16, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16},
    {ATTN_UINT32, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32},
    {ATTN_UINT64, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64},
    {ATTN_BOOL, ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL},
}};

ONNXTensorElementDataType type_of(attn_dtype dtype) {
  const auto found = std::find_if(kTypes.begin(), kTypes.end(), [&](const auto& pair) { return pair.first == dtype; });
  return found == kTypes.end() ? ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED : found->second;
}

std::optional<attn_dtype> dtype_of(ONNXTensorElementDataType type) {
  const auto found = std::find_if(kTypes.begin(), kTypes.end(), [&](const auto& pair) { return pair.second == type; });
  if (found == kTypes.end()) return std::nullopt;
  return found->first;
}

// Shared by the engine and its bound calls, which may outlive it.
struct Opened {
  const OrtLibrary& library;
  std::shared_ptr<void> log;  // goes after the session
  OrtHeld<OrtSession> session;
  OrtHeld<OrtMemoryInfo> host;
  OrtHeld<OrtRunOptions> quiet;  // where the session has a log: its runs are not told of
  std::string where, device;
  std::vector<std::string> inputs, outputs;

  const OrtApi* api() const { return library.api; }

  void check_run(OrtStatus* status) const {
    if (auto failure = library.failure(status)) throw explain_run(*failure, where, device);
  }

  // A tensor of ONNX Runtime over somebody's memory.
  OrtHeld<OrtValue> value(const View& view) const {
    static char nothing;  // where a tensor without elements lies
    OrtValue* made = nullptr;
    check_run(api()->CreateTensorWithDataAsOrtValue(host.get(), view.data ? view.data : &nothing, view.bytes(), view.shape.data(),
                                                    view.shape.size(), type_of(view.dtype), &made));
    return held(made, api()->ReleaseValue);
  }
};

class TypeReader {
 public:
  explicit TypeReader(const Opened& opened) : opened_(opened), api_(opened.library.api) {
    opened_.library.check(api_->GetAllocatorWithDefaultOptions(&allocator_));
  }

  std::vector<TensorSpec> inputs() { return read(api_->SessionGetInputCount, api_->SessionGetInputName, api_->SessionGetInputTypeInfo); }
  std::vector<TensorSpec> outputs() {
    return read(api_->SessionGetOutputCount, api_->SessionGetOutputName, api_->SessionGetOutputTypeInfo);
  }

 private:
  template <typename Count, typename Name, typename Type>
  std::vector<TensorSpec> read(Count count_of, Name name_of, Type type_of_place) {
    size_t count = 0;
    opened_.library.check(count_of(opened_.session.get(), &count));
    std::vector<TensorSpec> found;
    for (size_t i = 0; i < count; ++i) {
      char* name = nullptr;
      opened_.library.check(name_of(opened_.session.get(), i, allocator_, &name));
      const std::string copy = name;
      allocator_->Free(allocator_, name);
      OrtTypeInfo* type = nullptr;
      opened_.library.check(type_of_place(opened_.session.get(), i, &type));
      const OrtHeld<OrtTypeInfo> keep = held(type, api_->ReleaseTypeInfo);
      found.push_back(spec(copy, *type));
    }
    return found;
  }

  TensorSpec spec(const std::string& name, const OrtTypeInfo& type) {
    const OrtTensorTypeAndShapeInfo* tensor = nullptr;  // null where it is a sequence, a map, ...
    opened_.library.check(api_->CastTypeInfoToTensorInfo(&type, &tensor));
    ONNXTensorElementDataType element = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
    if (tensor) opened_.library.check(api_->GetTensorElementType(tensor, &element));
    const std::optional<attn_dtype> dtype = dtype_of(element);
    if (!dtype) {
      throw backend_error(opened_.where + ": tensor \"" + name + "\" is of ONNX's element type " + std::to_string(element) +
                          "; sessions take floats of 16, 32 and 64 bits, integers and bool");
    }
    size_t rank = 0;
    opened_.library.check(api_->GetDimensionsCount(tensor, &rank));
    std::vector<int64_t> sizes(rank);
    std::vector<const char*> names(rank);
    opened_.library.check(api_->GetDimensions(tensor, sizes.data(), rank));
    opened_.library.check(api_->GetSymbolicDimensions(tensor, names.data(), rank));
    TensorSpec found{name, *dtype, {}, "", "", std::nullopt, std::nullopt};
    for (size_t axis = 0; axis < rank; ++axis) {
      if (sizes[axis] >= 0) {
        found.dims.push_back({std::nullopt, sizes[axis], sizes[axis], sizes[axis]});
      } else {
        const bool named = names[axis] && *names[axis];
        found.dims.push_back({named ? names[axis] : name + "_" + std::to_string(axis), 1, 1, kAnySize});
      }
    }
    return found;
  }

  const Opened& opened_;
  const OrtApi* api_;
  OrtAllocator* allocator_ = nullptr;
};

// On the CPU: ONNX Runtime reads and writes the bound memory itself.
class HostCall : public BoundCall {
 public:
  HostCall(std::shared_ptr<const Opened> opened, const std::vector<View>& inputs, const std::vector<View>& outputs)
      : opened_(std::move(opened)) {
    const OrtApi* api = opened_->api();
    OrtIoBinding* binding = nullptr;
    opened_->check_run(api->CreateIoBinding(opened_->session.get(), &binding));
    binding_ = held(binding, api->ReleaseIoBinding);
    for (size_t i = 0; i < inputs.size(); ++i) {
      opened_->check_run(api->BindInput(binding, opened_->inputs[i].c_str(), opened_->value(inputs[i]).get()));
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      opened_->check_run(api->BindOutput(binding, opened_->outputs[i].c_str(), opened_->value(outputs[i]).get()));
    }
    session_ = opened_->session.get(), run_ = api->RunWithBinding;
  }

  void run() override {
    if (OrtStatus* status = run_(session_, nullptr, binding_.get())) opened_->check_run(status);
  }

 private:
  std::shared_ptr<const Opened> opened_;
  OrtHeld<OrtIoBinding> binding_;
  OrtSession* session_;
  decltype(OrtApi::RunWithBinding) run_;
};

// On a GPU: a binding would copy host memory to it when it is bound, and never again. A plain run copies each time.
class CopiedCall : public BoundCall {
 public:
  CopiedCall(std::shared_ptr<const Opened> opened, const std::vector<View>& inputs, const std::vector<View>& outputs)
      : opened_(std::move(opened)) {
    for (size_t i = 0; i < inputs.size(); ++i) add(opened_->inputs[i], inputs[i], in_names_, in_);
    for (size_t i = 0; i < outputs.size(); ++i) add(opened_->outputs[i], outputs[i], out_names_, out_);
  }

  void run() override {
    opened_->check_run(opened_->api()->Run(opened_->session.get(), opened_->quiet.get(), in_names_.data(), in_.data(), in_.size(), out_names_.data(),
                                           out_names_.size(), out_.data()));
  }

 private:
  template <typename Values>
  void add(const std::string& name, const View& view, std::vector<const char*>& names, Values& values) {
    values_.push_back(opened_->value(view));
    values.push_back(values_.back().get());
    names.push_back(name.c_str());
  }

  std::shared_ptr<const Opened> opened_;
  std::vector<OrtHeld<OrtValue>> values_;
  std::vector<const char*> in_names_, out_names_;
  std::vector<const OrtValue*> in_;
  std::vector<OrtValue*> out_;
};

class OrtEngine : public Engine {
 public:
  OrtEngine(std::shared_ptr<const Opened> opened, OrtPlace place) : opened_(std::move(opened)), place_(place) {}

  void run(const std::vector<View>& inputs, std::vector<Output>& outputs) override {
    const Opened& opened = *opened_;
    std::vector<OrtHeld<OrtValue>> keep;
    std::vector<const char*> in_names, out_names;
    std::vector<const OrtValue*> in;
    std::vector<OrtValue*> out;
    for (size_t i = 0; i < inputs.size(); ++i) {
      keep.push_back(opened.value(inputs[i]));
      in.push_back(keep.back().get());
      in_names.push_back(opened.inputs[i].c_str());
    }
    std::vector<Output*> wanted;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!outputs[i].wanted) continue;
      wanted.push_back(&outputs[i]);
      out_names.push_back(opened.outputs[i].c_str());
      const bool given = outputs[i].view.data != nullptr;
      if (given) keep.push_back(opened.value(outputs[i].view));
      out.push_back(given ? keep.back().get() : nullptr);
    }
    OrtStatus* status = opened.api()->Run(opened.session.get(), opened.quiet.get(), in_names.data(), in.data(), in.size(), out_names.data(),
                                          out_names.size(), out.data());
    // What ONNX Runtime made is ours from here on, also when it failed half way.
    std::vector<OrtHeld<OrtValue>> theirs;
    for (size_t i = 0; i < wanted.size(); ++i) {
      const bool made = !wanted[i]->view.data && out[i];
      theirs.push_back(made ? held(out[i], opened.api()->ReleaseValue) : OrtHeld<OrtValue>{});
    }
    opened.check_run(status);
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (theirs[i]) take(out_names[i], *theirs[i], *wanted[i]);
    }
  }

  std::unique_ptr<BoundCall> bind(const std::vector<View>& inputs, const std::vector<View>& outputs) override {
    if (place_ == OrtPlace::host) return std::make_unique<HostCall>(opened_, inputs, outputs);
    return std::make_unique<CopiedCall>(opened_, inputs, outputs);
  }

 private:
  void take(const char* name, OrtValue& value, Output& output) const {
    const OrtLibrary& library = opened_->library;
    OrtTensorTypeAndShapeInfo* info = nullptr;
    library.check(library.api->GetTensorTypeAndShape(&value, &info));
    const OrtHeld<OrtTensorTypeAndShapeInfo> keep = held(info, library.api->ReleaseTensorTypeAndShapeInfo);
    ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
    size_t rank = 0;
    library.check(library.api->GetTensorElementType(info, &type));
    library.check(library.api->GetDimensionsCount(info, &rank));
    Shape shape(rank);
    library.check(library.api->GetDimensions(info, shape.data(), rank));
    void* data = nullptr;
    library.check(library.api->GetTensorMutableData(&value, &data));
    const std::optional<attn_dtype> dtype = dtype_of(type);
    if (!dtype) throw backend_error(opened_->where + ": output \"" + name + "\" came back as no dtype of ours");
    output.made = Tensor(name, *dtype, shape);
    output.view = output.made.view();
    if (const size_t bytes = output.view.bytes()) std::memcpy(output.view.data, data, bytes);
  }

  std::shared_ptr<const Opened> opened_;
  OrtPlace place_;
};

}  // namespace

std::unique_ptr<Engine> make_ort_engine(const OrtLibrary& library, OrtHeld<OrtSession> session, std::shared_ptr<void> log,
                                        const GraphFile& graph, const std::string& device, OrtPlace place) {
  OrtMemoryInfo* host = nullptr;
  library.check(library.api->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &host));
  OrtRunOptions* quiet = nullptr;
  if (log) {
    library.check(library.api->CreateRunOptions(&quiet));
    library.check(library.api->RunOptionsSetRunLogSeverityLevel(quiet, ORT_LOGGING_LEVEL_FATAL));
  }
  auto opened = std::make_shared<Opened>(Opened{library, std::move(log), std::move(session), held(host, library.api->ReleaseMemoryInfo),
                                                held(quiet, library.api->ReleaseRunOptions), graph.where, device, {}, {}});
  TypeReader types(*opened);
  check_agreement(graph.inputs, types.inputs(), "input", graph);
  check_agreement(graph.outputs, types.outputs(), "output", graph);
  for (const TensorSpec& spec : graph.inputs) opened->inputs.push_back(spec.name);
  for (const TensorSpec& spec : graph.outputs) opened->outputs.push_back(spec.name);
  return std::make_unique<OrtEngine>(std::move(opened), place);
}

}  // namespace attn
