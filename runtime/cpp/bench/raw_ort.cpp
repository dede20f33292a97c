#include "raw_ort.h"

#include <dlfcn.h>
#include <onnxruntime_c_api.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

struct RawOrt::State {
  const OrtApi* api;
  OrtEnv* env = nullptr;
  OrtSessionOptions* options = nullptr;
  OrtSession* session = nullptr;
  OrtMemoryInfo* host = nullptr;
  OrtValue *in = nullptr, *out = nullptr;
  OrtIoBinding* binding = nullptr;

  void check(OrtStatus* status) const {
    if (!status) return;
    std::fprintf(stderr, "ONNX Runtime: %s\n", api->GetErrorMessage(status));
    std::exit(1);
  }

  OrtValue* value(void* data, const std::vector<int64_t>& shape) const {
    size_t bytes = sizeof(float);
    for (const int64_t size : shape) bytes *= static_cast<size_t>(size);
    OrtValue* made = nullptr;
    check(api->CreateTensorWithDataAsOrtValue(host, data, bytes, shape.data(), shape.size(), ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &made));
    return made;
  }
};

RawOrt::RawOrt(const std::string& library, const std::string& file, const char* input, void* in, const std::vector<int64_t>& in_shape,
               const char* output, void* out, const std::vector<int64_t>& out_shape)
    : state_(new State) {
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  const auto base = handle ? reinterpret_cast<const OrtApiBase*(ORT_API_CALL*)()>(dlsym(handle, "OrtGetApiBase")) : nullptr;
  if (!base) {
    std::fprintf(stderr, "no ONNX Runtime at %s\n", library.c_str());
    std::exit(1);
  }
  const auto theirs = static_cast<uint32_t>(std::atoi(base()->GetVersionString() + 2));
  State& s = *state_;
  s.api = base()->GetApi(std::min<uint32_t>(ORT_API_VERSION, theirs));
  s.check(s.api->CreateEnv(ORT_LOGGING_LEVEL_FATAL, "raw", &s.env));
  s.check(s.api->CreateSessionOptions(&s.options));
  s.check(s.api->SetIntraOpNumThreads(s.options, 1));
  s.check(s.api->CreateSession(s.env, file.c_str(), s.options, &s.session));
  s.check(s.api->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &s.host));
  s.in = s.value(in, in_shape), s.out = s.value(out, out_shape);
  s.check(s.api->CreateIoBinding(s.session, &s.binding));
  s.check(s.api->BindInput(s.binding, input, s.in));
  s.check(s.api->BindOutput(s.binding, output, s.out));
}

RawOrt::~RawOrt() {
  State& s = *state_;
  s.api->ReleaseIoBinding(s.binding);
  s.api->ReleaseValue(s.in), s.api->ReleaseValue(s.out);
  s.api->ReleaseMemoryInfo(s.host), s.api->ReleaseSession(s.session);
  s.api->ReleaseSessionOptions(s.options), s.api->ReleaseEnv(s.env);
  delete state_;
}

void RawOrt::run() { state_->check(state_->api->RunWithBinding(state_->session, nullptr, state_->binding)); }
