// The plugin libattn_runtime_trt.so: plugin.h by TensorRT 8.6, 10.3 and later, 11, or TensorRT-RTX, whichever the headers are of. The
// library is loaded while the program runs and never linked. The Python twin is attn_runtime/trt/run/executor_trt10.py.
//
// TensorRT answers NULL or false where it fails and tells why in its log: every answer is checked here. A GPU must be known to be there
// before any of it is called: without a driver some versions crash.
#include <NvInferRuntime.h>
#include <dlfcn.h>

#include <array>
#include <cstdio>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "trt/plugin/plugin.h"

namespace {

namespace trt = nvinfer1;

constexpr int kMajor = NV_TENSORRT_MAJOR, kMinor = NV_TENSORRT_MINOR, kPatch = NV_TENSORRT_PATCH;
// TensorRT-RTX counts from 1.0 on, TensorRT has been beyond 5 for long. ATTN_TRT_RTX_MINOR is for who takes TensorRT's public headers for the
// library of TensorRT-RTX 1.ATTN_TRT_RTX_MINOR.
#ifdef ATTN_TRT_RTX_MINOR
constexpr bool kRtx = true;
constexpr int kWantedMajor = 1;
#else
constexpr bool kRtx = NV_TENSORRT_MAJOR < 5;
constexpr int kWantedMajor = NV_TENSORRT_MAJOR;
#endif
#if NV_TENSORRT_MAJOR == 9 || (NV_TENSORRT_MAJOR > 4 && NV_TENSORRT_MAJOR < 8) || (NV_TENSORRT_MAJOR == 8 && NV_TENSORRT_MINOR < 6) || \
    (NV_TENSORRT_MAJOR == 10 && NV_TENSORRT_MINOR < 3)
#error "these headers are of a TensorRT that attn_runtime does not know: take 8.6, 10.3 or newer, or TensorRT-RTX"
#endif

// ---- The library ----

// Keeps the last errors. TensorRT takes the first logger of a process for good, so this one is never destroyed; where another came first,
// there is nothing to tell.
class Log : public trt::ILogger {
 public:
  void log(Severity severity, const char* message) noexcept override {
    if (severity != Severity::kERROR && severity != Severity::kINTERNAL_ERROR) return;
    try {
      std::string line;
      for (const char* at = message ? message : ""; *at && line.size() < 300; ++at) {
        const auto byte = static_cast<unsigned char>(*at);
        const bool blank = byte <= ' ';
        if (blank && (line.empty() || line.back() == ' ')) continue;
        line += blank ? ' ' : byte == 0x7f ? '?' : *at;
      }
      const std::lock_guard<std::mutex> only(mutex_);
      last_.push_back(line);
      if (last_.size() > 3) last_.pop_front();
    } catch (...) {  // no memory for words
    }
  }

  // What was said since the last time.
  std::string take() {
    const std::lock_guard<std::mutex> only(mutex_);
    std::string told;
    for (const std::string& line : last_) told += (told.empty() ? "" : "; ") + line;
    last_.clear();
    return told.empty() ? "it does not say why" : told;
  }

 private:
  std::mutex mutex_;
  std::deque<std::string> last_;
};

Log& the_log() {
  static auto* log = new Log;
  return *log;
}

struct Problem {
  std::string text;
};

void check(bool done, const std::string& what) {
  if (!done) throw Problem{"TensorRT does not " + what + ": " + the_log().take()};
}

// No exception crosses the table.
template <typename Work>
int guarded(char* why, Work work) {
  try {
    work();
    return 0;
  } catch (const Problem& problem) {
    std::snprintf(why, ATTN_TRT_WHY, "%s", problem.text.c_str());
  } catch (const std::exception& error) {
    std::snprintf(why, ATTN_TRT_WHY, "%s", error.what());
  }
  return 1;
}

std::string text(int major, int minor, int patch) {
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
}

std::string default_name() {
  return kRtx ? "libtensorrt_rtx.so.1" : "libnvinfer.so." + std::to_string(kWantedMajor);
}

using CreateRuntime = void* (*)(void* logger, int32_t version);
using Version = int32_t (*)();

template <typename Function>
Function symbol(void* handle, const char* name) {
  return reinterpret_cast<Function>(dlsym(handle, name));
}

}  // namespace

struct attn_trt_library {
  CreateRuntime create;
  std::array<int32_t, 4> version;
};

namespace {

// Only functions of C are called here: the tables of another major's objects have other slots, and calling through them ends the process.
attn_trt_library* open_library(const std::string& name) {
  void* handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    const char* said = dlerror();
    throw Problem{"TensorRT does not load (" + std::string(said ? said : "no reason given") +
                  "); install it, or name its library in ATTN_TENSORRT"};
  }
  const auto version_of = symbol<Version>(handle, "getInferLibVersion");
  const auto create = symbol<CreateRuntime>(handle, "createInferRuntime_INTERNAL");
  if (!version_of || !create) {
    throw Problem{name + " is no library of TensorRT: it has no getInferLibVersion or no createInferRuntime_INTERNAL"};
  }
  const int32_t number = version_of();
  // 8601 is 8.6.1; 100300 is 10.3.0, and 10701 is RTX 1.7.1.
  const int32_t step = number < 10000 ? 1000 : 10000;
  const int32_t major = number / step, minor = number % step / 100, patch = number % 100;
  const std::string found = name + " is of version " + text(major, minor, patch);
  const std::string built = "; this plugin was compiled with the headers of TensorRT" + std::string(kRtx ? "-RTX " : " ") +
                            text(kMajor, kMinor, kPatch);
  bool fits = major == kWantedMajor;
#ifdef ATTN_TRT_RTX_MINOR
  fits = fits && minor == ATTN_TRT_RTX_MINOR;
#endif
  if (!fits) {
    throw Problem{found + built + (kRtx && kMajor > 4 ? ", for another TensorRT-RTX" : "") +
                  ", and no call into another major is safe. Build it with that library's headers, or name another library in "
                  "ATTN_TENSORRT"};
  }
  if ((major == 8 && minor < 6) || (major == 10 && minor < 3)) throw Problem{found + ", expected 8.6, 10.3 or newer"};
  const auto build_of = symbol<Version>(handle, "getInferLibBuildVersion");
  return new attn_trt_library{create, {major, minor, patch, build_of ? build_of() : -1}};
}

int open(const char* path, attn_trt_library** library, int32_t version[4], char* why) {
  return guarded(why, [&] {
    static std::mutex mutex;
    static auto* opened = new std::map<std::string, attn_trt_library*>;
    const std::string name = path && *path ? path : default_name();
    const std::lock_guard<std::mutex> only(mutex);
    auto found = opened->find(name);
    if (found == opened->end()) found = opened->emplace(name, open_library(name)).first;
    *library = found->second;
    for (size_t i = 0; i < 4; ++i) version[i] = found->second->version[i];
  });
}

// ---- The engine ----

struct Tensor {
  std::string name;
  attn_trt_tensor told;
};

// TensorRT's objects have had virtual destructors since 8.0.
template <typename T>
using Owned = std::unique_ptr<T>;

attn_trt_shape shape_of(const trt::Dims& dims) {
  attn_trt_shape shape{};
  if (dims.nbDims < 0 || dims.nbDims > ATTN_MAX_RANK) throw Problem{"TensorRT tells of a shape of rank " + std::to_string(dims.nbDims)};
  shape.rank = dims.nbDims;
  for (int32_t axis = 0; axis < dims.nbDims; ++axis) shape.sizes[axis] = dims.d[axis];
  return shape;
}

std::string text(const attn_trt_shape& shape) {
  std::string told;
  for (int32_t axis = 0; axis < shape.rank; ++axis) told += (axis ? ", " : "") + std::to_string(shape.sizes[axis]);
  return "[" + told + "]";
}

void fill_dtype(trt::DataType type, attn_trt_tensor& tensor) {
  const auto is = [&](attn_dtype dtype, const char* name) { tensor.dtype = dtype, tensor.dtype_name = name; };
  switch (type) {
    case trt::DataType::kFLOAT: return is(ATTN_FLOAT32, "FLOAT");
    case trt::DataType::kHALF: return is(ATTN_FLOAT16, "HALF");
    case trt::DataType::kINT8: return is(ATTN_INT8, "INT8");
    case trt::DataType::kINT32: return is(ATTN_INT32, "INT32");
    case trt::DataType::kBOOL: return is(ATTN_BOOL, "BOOL");
    case trt::DataType::kUINT8: return is(ATTN_UINT8, "UINT8");
#if NV_TENSORRT_MAJOR != 8
    case trt::DataType::kINT64: return is(ATTN_INT64, "INT64");
    case trt::DataType::kBF16: break;
#endif
    default: break;
  }
  tensor.dtype = 0;
#if NV_TENSORRT_MAJOR != 8
  tensor.dtype_name = type == trt::DataType::kBF16 ? "BF16" : "of a type of few bits";
#else
  tensor.dtype_name = "of a type of few bits";
#endif
}

}  // namespace

struct attn_trt_engine {
  // In this order: each needs the one before.
  Owned<trt::IRuntime> runtime;
  Owned<trt::ICudaEngine> engine;
  std::vector<Tensor> tensors;
};

namespace {

void fill_tensors(attn_trt_engine& opened) {
  const trt::ICudaEngine& engine = *opened.engine;
  for (int32_t i = 0; i < engine.getNbIOTensors(); ++i) {
    const char* name = engine.getIOTensorName(i);
    check(name != nullptr, "tell the name of tensor " + std::to_string(i));
    Tensor tensor{name, {}};
    fill_dtype(engine.getTensorDataType(name), tensor.told);
    tensor.told.is_input = engine.getTensorIOMode(name) == trt::TensorIOMode::kINPUT;
    tensor.told.on_host = engine.getTensorLocation(name) == trt::TensorLocation::kHOST;
    tensor.told.shape = shape_of(engine.getTensorShape(name));
    opened.tensors.push_back(tensor);
  }
}

int load(attn_trt_library* library, const void* plan, size_t bytes, attn_trt_engine** engine, char* why) {
  return guarded(why, [&] {
    auto opened = std::make_unique<attn_trt_engine>();
    the_log().take();
    opened->runtime.reset(static_cast<trt::IRuntime*>(library->create(&the_log(), NV_TENSORRT_VERSION)));
    if (!opened->runtime) throw Problem{"TensorRT makes no runtime: " + the_log().take()};
    opened->engine.reset(opened->runtime->deserializeCudaEngine(plan, bytes));
    if (!opened->engine) throw Problem{the_log().take()};
    fill_tensors(*opened);
    *engine = opened.release();
  });
}

void unload(attn_trt_engine* engine) { delete engine; }

int32_t tensor_count(const attn_trt_engine* engine) { return static_cast<int32_t>(engine->tensors.size()); }

const Tensor& at(const attn_trt_engine* engine, int32_t number) {
  if (number < 0 || number >= tensor_count(engine)) throw Problem{"the engine has no tensor " + std::to_string(number)};
  return engine->tensors[static_cast<size_t>(number)];
}

int tensor(const attn_trt_engine* engine, int32_t number, attn_trt_tensor* found, char* why) {
  return guarded(why, [&] {
    *found = at(engine, number).told;
    found->name = at(engine, number).name.c_str();
  });
}

int32_t profile_count(const attn_trt_engine* engine) { return engine->engine->getNbOptimizationProfiles(); }

int profile_shape(const attn_trt_engine* engine, int32_t profile, int32_t number, int32_t which, attn_trt_shape* found, char* why) {
  return guarded(why, [&] {
    const auto selector = which == 0   ? trt::OptProfileSelector::kMIN
                          : which == 1 ? trt::OptProfileSelector::kOPT
                                       : trt::OptProfileSelector::kMAX;
    *found = shape_of(engine->engine->getProfileShape(at(engine, number).name.c_str(), profile, selector));
  });
}

uint64_t scratch_bytes(const attn_trt_engine* engine) {
#if NV_TENSORRT_MAJOR == 8
  return engine->engine->getDeviceMemorySize();
#else
  return static_cast<uint64_t>(engine->engine->getDeviceMemorySizeV2());
#endif
}

// ---- A context ----

// Called inside of `enqueue`.
class Allocator : public trt::IOutputAllocator {
 public:
  Allocator(attn_trt_grow grow, void* user) : grow_(grow), user_(user) {}
  // 10 and later have a second one with a stream, which calls this.
  void* reallocateOutput(const char*, void*, uint64_t size, uint64_t) noexcept override { return grow_(user_, size); }
  void notifyShape(const char*, const trt::Dims& dims) noexcept override { dims_ = dims; }
  const trt::Dims& dims() const { return dims_; }

 private:
  attn_trt_grow grow_;
  void* user_;
  trt::Dims dims_{-1, {}};
};

}  // namespace

struct attn_trt_context {
  const attn_trt_engine* engine;
  std::map<int32_t, std::unique_ptr<Allocator>> growing;  // TensorRT keeps no hold on them
  Owned<trt::IExecutionContext> context;
};

namespace {

int open_context(attn_trt_engine* engine, int32_t profile, void* stream, void* scratch, attn_trt_context** context, char* why) {
  return guarded(why, [&] {
    the_log().take();
    auto opened = std::make_unique<attn_trt_context>();
    opened->engine = engine;
    // Scratch memory of ours: the contexts of one stream share it.
#if NV_TENSORRT_MAJOR == 8
    opened->context.reset(engine->engine->createExecutionContextWithoutDeviceMemory());
#else
    opened->context.reset(engine->engine->createExecutionContext(trt::ExecutionContextAllocationStrategy::kUSER_MANAGED));
#endif
    if (!opened->context) throw Problem{"TensorRT makes no execution context: " + the_log().take()};
    if (const uint64_t bytes = scratch_bytes(engine)) {
#if NV_TENSORRT_MAJOR == 8
      opened->context->setDeviceMemory(scratch);
#else
      opened->context->setDeviceMemoryV2(scratch, static_cast<int64_t>(bytes));
#endif
    }
    if (opened->context->getOptimizationProfile() != profile) {
      check(opened->context->setOptimizationProfileAsync(profile, static_cast<cudaStream_t>(stream)),
            "take profile " + std::to_string(profile));
    }
    *context = opened.release();
  });
}

void close_context(attn_trt_context* context) { delete context; }

const char* name_of(const attn_trt_context* context, int32_t number) { return at(context->engine, number).name.c_str(); }

int set_shape(attn_trt_context* context, int32_t number, const attn_trt_shape* shape, char* why) {
  return guarded(why, [&] {
    trt::Dims dims{};
    if (shape->rank < 0 || shape->rank > trt::Dims::MAX_DIMS) throw Problem{"a shape of rank " + std::to_string(shape->rank)};
    dims.nbDims = shape->rank;
    for (int32_t axis = 0; axis < shape->rank; ++axis) {
      dims.d[axis] = static_cast<std::remove_reference_t<decltype(dims.d[0])>>(shape->sizes[axis]);
    }
    const char* name = name_of(context, number);
    if (!context->context->setInputShape(name, dims)) check(false, "take " + text(*shape) + " for input " + name);
  });
}

int set_address(attn_trt_context* context, int32_t number, void* address, char* why) {
  return guarded(why, [&] {
    const char* name = name_of(context, number);
    if (!context->context->setTensorAddress(name, address)) check(false, "take an address for " + std::string(name));
  });
}

int set_growing(attn_trt_context* context, int32_t number, attn_trt_grow grow, void* user, char* why) {
  return guarded(why, [&] {
    const char* name = name_of(context, number);
    auto allocator = std::make_unique<Allocator>(grow, user);
    check(context->context->setOutputAllocator(name, allocator.get()), "take an allocator for " + std::string(name));
    context->growing[number] = std::move(allocator);
  });
}

int infer(attn_trt_context* context, char* why) {
  return guarded(why, [&] {
    std::vector<const char*> missing(context->engine->tensors.size() + 1, nullptr);
    const int32_t count = context->context->inferShapes(static_cast<int32_t>(missing.size()), missing.data());
    if (count == 0) return;
    std::string names;
    for (const char* name : missing) {
      if (name) names += (names.empty() ? "" : ", ") + std::string(name);
    }
    check(false, "know the shapes of " + (names.empty() ? "the outputs" : names));
  });
}

int shape(const attn_trt_context* context, int32_t number, attn_trt_shape* found, char* why) {
  return guarded(why, [&] { *found = shape_of(context->context->getTensorShape(name_of(context, number))); });
}

int enqueue(attn_trt_context* context, void* stream, char* why) {
  return guarded(why, [&] {
    if (!context->context->enqueueV3(static_cast<cudaStream_t>(stream))) check(false, "run the engine");
  });
}

int grown_shape(const attn_trt_context* context, int32_t number, attn_trt_shape* found, char* why) {
  return guarded(why, [&] { *found = shape_of(context->growing.at(number)->dims()); });
}

}  // namespace

const attn_trt_plugin* attn_trt_plugin_table(void) {
  static const attn_trt_plugin table{ATTN_TRT_PLUGIN_ABI, kRtx ? "rtx" : "tensorrt", {kMajor, kMinor, kPatch},
                                     open, load, unload, tensor_count, tensor, profile_count, profile_shape, scratch_bytes,
                                     open_context, close_context, set_shape, set_address, set_growing, infer, shape, enqueue, grown_shape};
  return &table;
}
