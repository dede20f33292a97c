// Errors of ONNX Runtime in our words, where nodes were placed, what providers are told.
#include <gtest/gtest.h>

#include "ort/error.h"
#include "ort/placement.h"
#include "ort/providers.h"
#include "support/scratch.h"

namespace attn {
namespace {

TEST(OrtErrors, PlacesInItsSourceAreCut) {
  const auto line = [](const std::string& text) { return OrtFailure{ORT_FAIL, text}.line(); };
  EXPECT_EQ(line("status \n code /onnxruntime_src/onnxruntime/core/a.cc:123 bool f(int, char) const x was false.. "),
            "FAIL : status code x was false");
  for (const char* cut_short : {"/onnxruntime_src/", "a /onnxruntime_src/b.cc:1 f(", "/onnxruntime_src/b.cc:1 f()", "/onnxruntime_src/b.cc:1 f(("}) {
    EXPECT_FALSE(line(cut_short).empty());
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
