// A FAKE of libnvinfer for the tests, over NvInferRuntime.h beside it. Its plans are lines of text:
//   input x float 4,-1      a tensor; "host" behind it for one whose values lie on the host; a size is a number, -1, or a letter that
//   output y float 4,a      has the size of the input's axis of that letter; "?" follows from values
//   profile x 1,3 2,3 4,3   min, opt and max of an input; a line "next" begins the next profile
//   scratch 1000
//   fail enqueue            or context, shape, address, infer
// and their arithmetic: an output of the first input's shape is twice that input (float), any other output lists the places of
// the first input that are not 0 (int64).
#include <NvInferRuntime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "fake_driver.h"

namespace {

using namespace nvinfer1;

struct FakeTensor {
  std::string name;
  DataType type;
  bool input, host = false;
  std::vector<std::string> dims;
};

struct Plan {
  std::vector<FakeTensor> tensors;
  std::vector<std::map<std::string, std::vector<Dims>>> profiles{1};
  int64_t scratch = 0;
  std::string fail;
};

ILogger* logger = nullptr;  // the first of the process, for good, as TensorRT's

void say(const char* text) { logger->log(ILogger::Severity::kERROR, text); }

Dims dims_of(const std::string& text) {
  Dims dims{};
  std::stringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const bool number = part.find_first_not_of("-0123456789") == std::string::npos;
    dims.d[dims.nbDims++] = number ? std::atoll(part.c_str()) : -1;
  }
  return dims;
}

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  std::stringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) words.push_back(part);
  return words;
}

bool parse(const std::string& text, Plan& plan) {
  const std::map<std::string, DataType> types{{"float", DataType::kFLOAT}, {"half", DataType::kHALF}, {"int64", DataType::kINT64},
                                              {"int32", DataType::kINT32}, {"bool", DataType::kBOOL}, {"bf16", DataType::kBF16}};
  std::stringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::stringstream words(line);
    std::string what, name, a, b, c;
    words >> what >> name;
    if (what == "input" || what == "output") {
      words >> a >> b >> c;
      if (!types.count(a)) return false;
      plan.tensors.push_back({name, types.at(a), what == "input", c == "host", words_of(b == "-" ? "" : b)});
    } else if (what == "profile") {
      words >> a >> b >> c;
      plan.profiles.back()[name] = {dims_of(a), dims_of(b), dims_of(c)};
    } else if (what == "next") {
      plan.profiles.emplace_back();
    } else if (what == "scratch") {
      plan.scratch = std::atoll(name.c_str());
    } else if (what == "fail") {
      plan.fail = name;
    } else {
      return false;
    }
  }
  return true;
}

size_t count(const Dims& dims) {
  size_t all = 1;
  for (int32_t i = 0; i < dims.nbDims; ++i) all *= static_cast<size_t>(dims.d[i]);
  return all;
}

class Context : public IExecutionContext {
 public:
  explicit Context(const Plan& plan) : plan_(plan) {}

  void setDeviceMemoryV2(void* memory, int64_t size) noexcept override {
    scratch_ = size >= plan_.scratch && fake_on_device(memory, static_cast<size_t>(size));
  }
  int32_t getOptimizationProfile() const noexcept override { return profile_; }
  bool setOptimizationProfileAsync(int32_t profile, cudaStream_t) noexcept override {
    if (profile < 0 || static_cast<size_t>(profile) >= plan_.profiles.size()) return false;
    profile_ = profile;
    return true;
  }
  bool setInputShape(const char* name, const Dims& dims) noexcept override {
    if (plan_.fail == "shape") return say("shape\nof no \x1b good"), false;
    const auto& profile = plan_.profiles[static_cast<size_t>(profile_)];
    if (const auto bounds = profile.find(name); bounds != profile.end()) {
      for (int32_t i = 0; i < dims.nbDims; ++i) {
        if (dims.d[i] < bounds->second[0].d[i] || dims.d[i] > bounds->second[2].d[i]) return say("not in the profile"), false;
      }
    }
    shapes_[name] = dims;
    return true;
  }
  Dims getTensorShape(const char* name) const noexcept override {
    if (const auto set = shapes_.find(name); set != shapes_.end()) return set->second;
    const FakeTensor& tensor = find(name);
    Dims dims{static_cast<int32_t>(tensor.dims.size()), {}};
    for (size_t i = 0; i < tensor.dims.size(); ++i) dims.d[i] = size_of(tensor.dims[i]);
    return dims;
  }
  bool setTensorAddress(const char* name, void* data) noexcept override {
    if (plan_.fail == "address" || !data || reinterpret_cast<uintptr_t>(data) % 256) return false;
    addresses_[name] = data;
    return true;
  }
  bool setOutputAllocator(const char* name, IOutputAllocator* allocator) noexcept override { return allocators_[name] = allocator, true; }
  int32_t inferShapes(int32_t most, const char** names) noexcept override {
    if (plan_.fail == "infer" && most > 0) return names[0] = plan_.tensors[0].name.c_str(), 1;
    int32_t missing = 0;
    for (const FakeTensor& tensor : plan_.tensors) {
      const bool lacks = tensor.input && (shapes_.count(tensor.name) == 0 || (tensor.host && addresses_.count(tensor.name) == 0));
      if (lacks && missing < most) names[missing++] = tensor.name.c_str();
    }
    return missing;
  }
  bool enqueueV3(cudaStream_t stream) noexcept override {
    if (plan_.fail == "enqueue") return say("the kernel was not there"), false;
    if (plan_.scratch && !scratch_) return say("no scratch memory"), false;
    const FakeTensor& first = plan_.tensors.front();
    const Dims shape = shapes_.at(first.name);
    const size_t elements = count(shape);
    const auto* from = static_cast<const float*>(addresses_.at(first.name));
    if (!fake_on_device(from, elements * sizeof(float))) return say("an input is not on the device"), false;
    for (const FakeTensor& tensor : plan_.tensors) {
      if (tensor.input) continue;
      const Dims told = getTensorShape(tensor.name.c_str());
      if (std::find(told.d, told.d + told.nbDims, -1) != told.d + told.nbDims) {
        if (!list_places(tensor, from, elements, stream)) return false;
        continue;
      }
      void* to = addresses_.count(tensor.name) ? addresses_.at(tensor.name) : nullptr;
      if (!fake_on_device(to, count(told) * sizeof(float))) return say("an output is not on the device"), false;
      fake_push(stream, [=] {
        for (size_t i = 0; i < elements; ++i) static_cast<float*>(to)[i] = 2 * from[i];
      });
    }
    return true;
  }

 private:
  const FakeTensor& find(const std::string& name) const {
    for (const FakeTensor& tensor : plan_.tensors) {
      if (tensor.name == name) return tensor;
    }
    std::abort();
  }

  int64_t size_of(const std::string& word) const {
    if (word.find_first_not_of("-0123456789") == std::string::npos) return std::atoll(word.c_str());
    for (const FakeTensor& tensor : plan_.tensors) {
      const auto axis = std::find(tensor.dims.begin(), tensor.dims.end(), word);
      const auto set = shapes_.find(tensor.name);
      if (tensor.input && axis != tensor.dims.end() && set != shapes_.end()) return set->second.d[axis - tensor.dims.begin()];
    }
    return -1;
  }

  bool list_places(const FakeTensor& tensor, const float* from, size_t elements, void* stream) {
    fake_finish(stream);  // the input has to be there: its values decide
    std::vector<int64_t> places;
    for (size_t i = 0; i < elements; ++i) {
      if (from[i] != 0) places.push_back(static_cast<int64_t>(i));
    }
    const auto allocator = allocators_.find(tensor.name);
    if (allocator == allocators_.end()) return say("an output has no allocator"), false;
    const size_t bytes = places.size() * sizeof(int64_t);
    void* to = allocator->second->reallocateOutput(tensor.name.c_str(), nullptr, bytes, 256);
    if (!to) return say("no memory for an output"), false;
    allocator->second->notifyShape(tensor.name.c_str(), Dims{2, {1, static_cast<int64_t>(places.size())}});
    fake_push(stream, [=] { std::copy(places.begin(), places.end(), static_cast<int64_t*>(to)); });
    return true;
  }

  const Plan& plan_;
  int32_t profile_ = 0;
  bool scratch_ = false;
  std::map<std::string, Dims> shapes_;
  std::map<std::string, void*> addresses_;
  std::map<std::string, IOutputAllocator*> allocators_;
};

class Engine : public ICudaEngine {
 public:
  explicit Engine(Plan plan) : plan_(std::move(plan)) {}
  int32_t getNbIOTensors() const noexcept override { return static_cast<int32_t>(plan_.tensors.size()); }
  const char* getIOTensorName(int32_t number) const noexcept override { return plan_.tensors[static_cast<size_t>(number)].name.c_str(); }
  DataType getTensorDataType(const char* name) const noexcept override { return find(name).type; }
  TensorIOMode getTensorIOMode(const char* name) const noexcept override {
    return find(name).input ? TensorIOMode::kINPUT : TensorIOMode::kOUTPUT;
  }
  TensorLocation getTensorLocation(const char* name) const noexcept override {
    return find(name).host ? TensorLocation::kHOST : TensorLocation::kDEVICE;
  }
  Dims getTensorShape(const char* name) const noexcept override {
    std::string text;
    for (const std::string& word : find(name).dims) text += (text.empty() ? "" : ",") + word;
    return dims_of(text);
  }
  int32_t getNbOptimizationProfiles() const noexcept override { return static_cast<int32_t>(plan_.profiles.size()); }
  Dims getProfileShape(const char* name, int32_t profile, OptProfileSelector which) const noexcept override {
    const auto& bounds = plan_.profiles[static_cast<size_t>(profile)];
    const auto found = bounds.find(name);
    return found == bounds.end() ? Dims{-1, {}} : found->second[static_cast<size_t>(which)];
  }
  int64_t getDeviceMemorySizeV2() const noexcept override { return plan_.scratch; }
  IExecutionContext* createExecutionContext(ExecutionContextAllocationStrategy strategy) noexcept override {
    if (plan_.fail == "context" || strategy != ExecutionContextAllocationStrategy::kUSER_MANAGED) return nullptr;
    return new Context(plan_);
  }

 private:
  const FakeTensor& find(const std::string& name) const {
    for (const FakeTensor& tensor : plan_.tensors) {
      if (tensor.name == name) return tensor;
    }
    std::abort();
  }
  Plan plan_;
};

class Runtime : public IRuntime {
 public:
  ICudaEngine* deserializeCudaEngine(const void* plan, size_t bytes) noexcept override {
    Plan parsed;
    const std::string text(static_cast<const char*>(plan), bytes);
    if (!parse(text, parsed)) return say("Serialization assertion magicTagRead == kMAGIC_TAG failed."), nullptr;
    return new Engine(parsed);
  }
};

}  // namespace

#define FAKE_EXPORT extern "C" __attribute__((visibility("default")))

FAKE_EXPORT int32_t getInferLibVersion() {
  const char* told = std::getenv("ATTN_FAKE_TENSORRT");
  return told ? std::atoi(told) : NV_TENSORRT_VERSION;
}
FAKE_EXPORT int32_t getInferLibBuildVersion() { return 34; }
FAKE_EXPORT void* createInferRuntime_INTERNAL(void* given, int32_t version) {
  // What a real library of another major does not do: it goes on, and the process ends somewhere in a table of another layout.
  if (getInferLibVersion() / 10000 != NV_TENSORRT_MAJOR || version != NV_TENSORRT_VERSION) {
    std::fprintf(stderr, "fake TensorRT: called with the headers of another major\n");
    std::abort();
  }
  if (!logger) logger = static_cast<ILogger*>(given);
  return new Runtime;
}
