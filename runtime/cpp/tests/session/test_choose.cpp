// Which backend and device are taken, and what is said of the others; errors of ONNX Runtime in our words; where nodes were placed.
#include <algorithm>

#include "ort/error.h"
#include "ort/placement.h"
#include "ort/providers.h"
#include "session/choose.h"
#include "support/scratch.h"

namespace attn {
namespace {

class Nothing : public Engine {
 public:
  void run(const std::vector<View>&, std::vector<Output>&) override {}
  std::unique_ptr<BoundCall> bind(const std::vector<View>&, const std::vector<View>&) override { return nullptr; }
};

// A backend that is what the test says.
class Told : public Backend {
 public:
  Told(std::string name, std::string against_cuda, std::string against_cpu, bool automatic = true, std::string opening = "")
      : name_(std::move(name)), cuda_(std::move(against_cuda)), cpu_(std::move(against_cpu)), opening_(std::move(opening)),
        automatic_(automatic) {}
  const char* name() const override { return name_.c_str(); }
  bool automatic() const override { return automatic_; }
  std::optional<std::string> why_not(const std::string& device, const OpenOptions&) override {
    const std::string& reason = device == "cpu" ? cpu_ : cuda_;
    if (reason.empty()) return std::nullopt;
    return reason;
  }
  std::unique_ptr<Engine> open(const GraphFile&, const std::string&, const OpenOptions&) override {
    if (opening_ == "damaged") throw bundle_error("damaged");
    if (!opening_.empty()) throw backend_error(opening_);
    return std::make_unique<Nothing>();
  }

 private:
  std::string name_, cuda_, cpu_, opening_;
  bool automatic_;
};

using Backends = std::vector<std::unique_ptr<Backend>>;

template <typename... Each>
Backends those(Each... each) {
  Backends made;
  (made.push_back(std::make_unique<Told>(each)), ...);
  return made;
}

OpenOptions asked(const std::string& device, std::optional<std::string> backend = {}) {
  OpenOptions options;
  options.device = device, options.backend = std::move(backend);
  return options;
}

Chosen chosen(const Backends& all, const OpenOptions& options) {
  GraphFile graph{nullptr, nullptr, nullptr, "bundle a.attn", {}, {}};
  return open_engine(graph, options, all);
}

TEST(Choose, AutoTakesAGpuThatWorks) {
  EXPECT_EQ(chosen(those(Told("one", "", "")), asked("auto")).choice, "one on cuda; passed over: none");
}

TEST(Choose, AutoSaysWhyTheGpuWasPassedOver) {
  const Backends all = those(Told("one", "no driver", ""), Told("two", "no driver", ""), Told("slow", "", "", false));
  EXPECT_EQ(chosen(all, asked("auto")).choice,
            "one on cpu; passed over: one, two on cuda (no driver); slow (only when asked for by name)");
  EXPECT_EQ(chosen(all, asked("cpu", "two")).choice, "two on cpu; passed over: none");
}

TEST(Choose, WhatFailsToOpenIsPassedOverOnlyWhereTheBackendIsAtFault) {
  EXPECT_EQ(chosen(those(Told("one", "", "", true, "out of memory"), Told("two", "", "")), asked("cuda")).choice,
            "two on cuda; passed over: one on cuda (out of memory)");
  const Backends damaged = those(Told("one", "", "", true, "damaged"), Told("two", "", ""));
  EXPECT_EQ(raised([&] { chosen(damaged, asked("cuda")); }), "damaged");
}

TEST(Choose, ANamedDeviceIsTakenOrRefused) {
  const Backends all = those(Told("one", "no driver", ""), Told("slow", "", "", false));
  EXPECT_EQ(raised([&] { chosen(all, asked("cuda")); }, ATTN_ERROR_BACKEND),
            "no backend can run bundle a.attn on cuda: one on cuda (no driver). See attn-run doctor.");
  EXPECT_EQ(raised([&] { chosen(all, asked("cuda:3", "one")); }, ATTN_ERROR_BACKEND),
            "backend one can't run bundle a.attn on cuda:3: one on cuda:3 (no driver). See attn-run doctor.");
}

TEST(Choose, UnknownNamesAreToldWithTheNearest) {
  const Backends all = those(Told("ort", "", ""));
  EXPECT_EQ(raised([&] { chosen(all, asked("gpu")); }, ATTN_ERROR_USAGE),
            "unknown device \"gpu\"; did you mean cuda? available: auto, cpu, cuda, cuda:N");
  EXPECT_EQ(raised([&] { chosen(all, asked("cpu", "otr")); }, ATTN_ERROR_USAGE),
            "unknown backend \"otr\"; did you mean ort? available: ort, or none to have one chosen");
  for (const char* device : {"", "cuda:", "cuda:x", "cuda:1234", "cuda:-1", "CPU "}) {
    EXPECT_NE(raised([&] { chosen(all, asked(device)); }, ATTN_ERROR_USAGE), "") << device;
  }
}

TEST(OrtErrors, PlacesInItsSourceAndLineBreaksAreCut) {
  EXPECT_EQ(one_line("  Non-zero status \n\n code /onnxruntime_src/onnxruntime/core/a.cc:123 bool f(int, char) const x was false.. "),
            "Non-zero status code x was false");
  EXPECT_EQ(one_line("a\x1b[2J\x7f" "b"), "a?[2J?b");
  EXPECT_EQ(one_line(std::string(500, 'x')), std::string(400, 'x') + "...");
  for (const char* cut_short : {"/onnxruntime_src/", "a /onnxruntime_src/b.cc:1 f(", "/onnxruntime_src/b.cc:1 f()", "/onnxruntime_src/b.cc:1 f(("}) {
    EXPECT_FALSE(one_line(cut_short).empty());
  }
}

TEST(OrtErrors, BecomeOurs) {
  const auto open = [](OrtErrorCode code, const char* text, const char* device) {
    const Error error = explain_open({code, text}, "bundle a.attn", "model.onnx", device);
    return std::make_pair(error.status, std::string(error.what()));
  };
  EXPECT_EQ(open(ORT_INVALID_PROTOBUF, "Load model failed", "cpu"),
            std::make_pair(ATTN_ERROR_BUNDLE, std::string("bundle a.attn: ONNX Runtime can't load model.onnx: INVALID_PROTOBUF : Load model "
                                                          "failed. Export it again.")));
  EXPECT_EQ(open(ORT_NOT_IMPLEMENTED, "no kernel", "cpu").first, ATTN_ERROR_BACKEND);
  EXPECT_EQ(open(ORT_FAIL, "cuda failure 2: Out of Memory", "cuda").first, ATTN_ERROR_BACKEND);
  EXPECT_EQ(open(ORT_EP_FAIL, "x", "cuda").first, ATTN_ERROR_BACKEND);
  EXPECT_EQ(open(ORT_FAIL, "cuda is a word in it", "cpu").first, ATTN_ERROR_BUNDLE);
  const auto run = [](OrtErrorCode code, const char* text) { return explain_run({code, text}, "bundle a.attn", "cpu").status; };
  EXPECT_EQ(run(ORT_INVALID_ARGUMENT, "x"), ATTN_ERROR_INPUT);
  EXPECT_EQ(run(ORT_FAIL, "indices element out of data bounds, idx=99"), ATTN_ERROR_INPUT);
  EXPECT_EQ(run(ORT_RUNTIME_EXCEPTION, "the shape of a pre-allocated output"), ATTN_ERROR_INPUT);
  EXPECT_EQ(run(ORT_FAIL, "x"), ATTN_ERROR_BACKEND);
}

void hear(PlacementLog& log, const std::vector<std::string>& messages) {
  for (const std::string& message : messages) {
    PlacementLog::hear(&log, ORT_LOGGING_LEVEL_VERBOSE, "", "", "", message.c_str());
  }
}

TEST(Placement, IsReadFromTheLog) {
  PlacementLog log;
  hear(log, {"Node placements", " Node(s) placed on [CPUExecutionProvider]. Number of nodes: 2", "  Shape (s)", "  MatMul (m)",
             " Node(s) placed on [CUDAExecutionProvider]. Number of nodes: 1", "  Add (a)", "Removing initializer", "  Gemm (not one)"});
  std::vector<std::string> told;
  for (const Placed& each : log.placed()) told.push_back(each.op + "@" + each.provider);
  EXPECT_EQ(told, (std::vector<std::string>{"Shape@CPUExecutionProvider", "MatMul@CPUExecutionProvider", "Add@CUDAExecutionProvider"}));
  EXPECT_EQ(heavy_on_cpu(log.placed()), std::vector<std::string>{"MatMul"});
}

TEST(Placement, WorkThatStaysOnTheCpuIsRefused) {
  const auto refusal = [](const std::vector<Placed>& placed) {
    return raised([&] { check_placed(placed, "bundle a.attn", "cuda", kCudaProvider); }, ATTN_ERROR_BACKEND);
  };
  EXPECT_EQ(refusal({{kCudaProvider, ""}}), "");
  EXPECT_EQ(refusal({{kCudaProvider, "MatMul"}, {"CPUExecutionProvider", "Shape"}}), "");
  EXPECT_EQ(refusal({{kCudaProvider, "Add"}, {"CPUExecutionProvider", "MatMul"}}),
            "bundle a.attn: cuda was asked for, but ONNX Runtime leaves MatMul to the CPU. Take device cpu, or export in another "
            "precision or opset.");
  EXPECT_NE(refusal({{"CPUExecutionProvider", ""}}).find("took none of the nodes, which went to CPUExecutionProvider"), std::string::npos);
  EXPECT_NE(refusal({}).find("does not tell"), std::string::npos);  // not known is not good
}

TEST(Providers, ShapesToBuildForAreToldAsTensorrtReadsThem) {
  const Dim batch{"batch", 1, 4, 32}, three{std::nullopt, 3, 3, 3};
  const TensorSpec image{"image", ATTN_FLOAT32, {batch, three}, "", "", {}, {}}, flag{"flag", ATTN_BOOL, {three}, "", "", {}, {}};
  EXPECT_EQ(profile_shapes({image, flag}, "a"),
            (ProviderOptions{{"min", "image:1x3"}, {"opt", "image:4x3"}, {"max", "image:32x3"}}));
  EXPECT_EQ(profile_shapes({flag}, "a"), ProviderOptions{});
  TensorSpec odd = image;
  odd.name = "a:b";
  EXPECT_NE(raised([&] { profile_shapes({odd}, "a"); }, ATTN_ERROR_BACKEND), "");
}

}  // namespace
}  // namespace attn
