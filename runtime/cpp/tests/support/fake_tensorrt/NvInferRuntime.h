// A FAKE of TensorRT's header, written for the tests from nothing but the names that trt/plugin.cpp calls. It has the names and the meaning
// of TensorRT 10, and not its layout: what is compiled with it works with fake_nvinfer.cpp alone, and proves logic, not that the plugin
// fits a real library.
#pragma once

#include <cstddef>
#include <cstdint>

#define NV_TENSORRT_MAJOR 10
#define NV_TENSORRT_MINOR 9
#define NV_TENSORRT_PATCH 0
#define NV_TENSORRT_VERSION 100900

typedef struct FakeStream* cudaStream_t;

namespace nvinfer1 {

class ILogger {
 public:
  enum class Severity : int32_t { kINTERNAL_ERROR, kERROR, kWARNING, kINFO, kVERBOSE };
  virtual ~ILogger() = default;
  virtual void log(Severity severity, const char* message) noexcept = 0;
};

struct Dims {
  static constexpr int32_t MAX_DIMS = 8;
  int32_t nbDims;
  int64_t d[MAX_DIMS];
};

enum class DataType : int32_t { kFLOAT, kHALF, kINT8, kINT32, kBOOL, kUINT8, kFP8, kBF16, kINT64 };
enum class TensorIOMode : int32_t { kNONE, kINPUT, kOUTPUT };
enum class TensorLocation : int32_t { kDEVICE, kHOST };
enum class OptProfileSelector : int32_t { kMIN, kOPT, kMAX };
enum class ExecutionContextAllocationStrategy : int32_t { kSTATIC, kON_PROFILE_CHANGE, kUSER_MANAGED };

class IOutputAllocator {
 public:
  virtual ~IOutputAllocator() = default;
  virtual void* reallocateOutput(const char* name, void* current, uint64_t size, uint64_t alignment) noexcept = 0;
  virtual void notifyShape(const char* name, const Dims& dims) noexcept = 0;
};

class IExecutionContext {
 public:
  virtual ~IExecutionContext() = default;
  virtual void setDeviceMemoryV2(void* memory, int64_t size) noexcept = 0;
  virtual int32_t getOptimizationProfile() const noexcept = 0;
  virtual bool setOptimizationProfileAsync(int32_t profile, cudaStream_t stream) noexcept = 0;
  virtual bool setInputShape(const char* name, const Dims& dims) noexcept = 0;
  virtual Dims getTensorShape(const char* name) const noexcept = 0;
  virtual bool setTensorAddress(const char* name, void* data) noexcept = 0;
  virtual bool setOutputAllocator(const char* name, IOutputAllocator* allocator) noexcept = 0;
  virtual int32_t inferShapes(int32_t most, const char** names) noexcept = 0;
  virtual bool enqueueV3(cudaStream_t stream) noexcept = 0;
};

class ICudaEngine {
 public:
  virtual ~ICudaEngine() = default;
  virtual int32_t getNbIOTensors() const noexcept = 0;
  virtual const char* getIOTensorName(int32_t number) const noexcept = 0;
  virtual DataType getTensorDataType(const char* name) const noexcept = 0;
  virtual TensorIOMode getTensorIOMode(const char* name) const noexcept = 0;
  virtual TensorLocation getTensorLocation(const char* name) const noexcept = 0;
  virtual Dims getTensorShape(const char* name) const noexcept = 0;
  virtual int32_t getNbOptimizationProfiles() const noexcept = 0;
  virtual Dims getProfileShape(const char* name, int32_t profile, OptProfileSelector which) const noexcept = 0;
  virtual int64_t getDeviceMemorySizeV2() const noexcept = 0;
  virtual IExecutionContext* createExecutionContext(ExecutionContextAllocationStrategy strategy) noexcept = 0;
};

class IRuntime {
 public:
  virtual ~IRuntime() = default;
  virtual ICudaEngine* deserializeCudaEngine(const void* plan, size_t bytes) noexcept = 0;
};

}  // namespace nvinfer1
