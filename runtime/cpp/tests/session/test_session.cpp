// Sessions over the real ONNX Runtime: what they answer is held bit for bit against what Python's runtime answered.
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <thread>

#include "bundle/safetensors.h"
#include "c_api/errors.h"
#include "ort/backend.h"
#include "ort/library.h"
#include "ort/placement.h"
#include "ort/providers.h"
#include "session/session.h"
#include "support/bundles.h"
#include "support/scratch.h"
#include "verify/compare.h"
#include "verify/verify.h"

namespace attn {
namespace {

using attn_test::bundles_folder;

std::shared_ptr<const Bundle> bundle(const std::string& name) { return Bundle::open(bundles_folder() / (name + ".attn")); }

OpenOptions on_cpu(std::optional<std::string> precision = {}, std::optional<std::string> graph = {}) {
  OpenOptions options;
  options.device = "cpu", options.precision = std::move(precision), options.graph = std::move(graph), options.threads = 1;
  return options;
}

std::map<std::string, View> views(const Tensors& tensors) {
  std::map<std::string, View> found;
  for (const auto& [name, tensor] : tensors) found[name] = tensor.view();
  return found;
}

Tensor tensor(const std::string& name, attn_dtype dtype, const Shape& shape, const std::vector<float>& values = {}) {
  Tensor made(name, dtype, shape);
  if (!values.empty()) std::memcpy(made.buffer.data(), values.data(), values.size() * sizeof(float));
  return made;
}

class Sessions : public testing::Test {
 protected:
  void SetUp() override { ATTN_NEEDS_BUNDLES(); }
};

// Of one kind of processor, both languages answer the same bits. With ATTN_TEST_ACROSS the answers are of a Python on another kind, whose
// sums have another order: 1e-5 of the largest value; and of fp16, which one kind computes in fp32, a rounding.
bool same_answer(const Tensor& expected, const Tensor& got, bool fp16) {
  if (!std::getenv("ATTN_TEST_ACROSS")) {
    const size_t bytes = bytes_of(expected.dtype, expected.shape);
    return bytes == 0 || std::memcmp(got.buffer.data(), expected.buffer.data(), bytes) == 0;
  }
  return compare("", expected, &got, {1e-7, fp16 ? 2e-3 : 1e-5}).passed;
}

TEST_F(Sessions, AnswerExactlyWhatPythonAnswers) {
  size_t compared = 0;
  for (const char* name : {"gemm", "nonzero", "embed", "sides", "half_norm", "half_transpose"}) {
    const auto opened = bundle(name);
    for (const Graph& graph : opened->graphs) {
      for (const Precision& precision : graph.precisions) {
        const auto session = Session::open(opened, on_cpu(precision.name, graph.name));
        for (const GoldenCase& golden : graph.golden) {
          const std::string file = std::string(name) + "." + graph.name + "." + precision.name + "." + golden.name + ".safetensors";
          const Tensors expected = read_safetensors(bundles_folder() / "answers" / file, file);
          Tensors inputs = opened->golden_inputs(graph, golden);
          if (precision.half_io) {
            for (auto& [input, value] : inputs) value = halved(value);
          }
          const Tensors got = session->run(views(inputs));
          ASSERT_EQ(got.size(), expected.size()) << file;
          for (const auto& [output, answer] : expected) {
            ASSERT_EQ(got.at(output).shape, answer.shape) << file;
            ASSERT_EQ(got.at(output).dtype, answer.dtype) << file;
            ASSERT_TRUE(same_answer(answer, got.at(output), precision.type == "fp16")) << file << " " << output;
            ++compared;
          }
        }
      }
    }
  }
  EXPECT_EQ(compared, 9u + 1 + 1 + 3 + 1 + 1);
}

TEST_F(Sessions, TellWhatTheyAre) {
  const auto session = Session::open(bundle("gemm"), on_cpu("half"));
  EXPECT_EQ(session->backend, "ort");
  EXPECT_EQ(session->device, "cpu");
  EXPECT_EQ(session->precision, "half");
  EXPECT_EQ(session->inputs[0].text(), "x: float16[batch=1..4, 16]");
  EXPECT_NE(session->choice.find("computes fp16 in fp32"), std::string::npos) << session->choice;
  EXPECT_EQ(session->choice.find("ort on cpu, half ("), 0U) << session->choice;
  EXPECT_NE(session->passed_over.find("ort_rtx, ort_tensorrt (only when asked for by name)"), std::string::npos) << session->passed_over;
}

TEST_F(Sessions, RefuseUnknownNames) {
  EXPECT_EQ(raised([] { Session::open(bundle("gemm"), on_cpu("fp23")); }, ATTN_ERROR_USAGE),
            "unknown precision \"fp23\"; did you mean fp32? available: fp32, ext, half (bundle gemm.attn)");
  EXPECT_NE(raised([] { Session::open(bundle("tiny"), on_cpu()); }), "");
}

TEST_F(Sessions, ADeviceThatIsNotThereIsNeverReplacedByTheCpu) {
  OpenOptions options = on_cpu();
  options.device = "cuda:999";
  for (const char* backend : {"ort", "ort_tensorrt", "ort_rtx"}) {
    options.backend = backend;
    EXPECT_NE(raised([&] { Session::open(bundle("gemm"), options); }, ATTN_ERROR_BACKEND), "") << backend;
  }
}

TEST_F(Sessions, CheckInputsBeforeTheLibrarySeesThem) {
  const auto session = Session::open(bundle("gemm"), on_cpu());
  const Tensor nine = tensor("x", ATTN_FLOAT32, {9, 16}), right = tensor("x", ATTN_FLOAT32, {2, 16});
  EXPECT_EQ(raised([&] { session->run({{"x", nine.view()}}); }, ATTN_ERROR_INPUT),
            "input \"x\": got float32 [9, 16]; dim batch allows 1..4 (bundle gemm.attn). Re-export with --dim batch=1:2:9.");
  EXPECT_NE(raised([&] { session->run({{"z", right.view()}}); }, ATTN_ERROR_INPUT), "");
  View null = right.view();
  null.data = nullptr;
  EXPECT_EQ(raised([&] { session->run({{"x", null}}); }, ATTN_ERROR_INPUT),
            "input \"x\": its data is NULL; expected 128 bytes for float32 [2, 16] (bundle gemm.attn)");
  View odd = right.view();
  odd.data = static_cast<char*>(odd.data) + 1;
  EXPECT_NE(raised([&] { session->run({{"x", odd}}); }, ATTN_ERROR_INPUT).find("not aligned"), std::string::npos);
}

TEST_F(Sessions, ValuesThatTheGraphRefusesAreInputErrors) {
  const auto session = Session::open(bundle("embed"), on_cpu());
  Tensor tokens("tokens", ATTN_INT64, {1, 1});
  static_cast<int64_t*>(tokens.buffer.data())[0] = 999;
  EXPECT_NE(raised([&] { session->run({{"tokens", tokens.view()}}); }, ATTN_ERROR_INPUT).find("out of data bounds"), std::string::npos);
  const auto binding = session->bind({{"B", 1}, {"T", 1}}, {{"tokens", tokens.view()}}, {});
  EXPECT_NE(raised([&] { binding->run(); }, ATTN_ERROR_INPUT), "");
  static_cast<int64_t*>(tokens.buffer.data())[0] = 7;
  binding->run();  // and goes on
  EXPECT_EQ(binding->outputs.at("e").as<float>()[3], 7);
}

TEST_F(Sessions, ABindingReadsAndWritesTheSameBuffersEachTime) {
  const auto session = Session::open(bundle("embed"), on_cpu());
  const auto binding = session->bind({{"B", 2}}, {}, {});
  const View tokens = binding->inputs.at("tokens"), rows = binding->outputs.at("e");
  EXPECT_EQ(tokens.shape, (Shape{2, 3}));  // T takes its opt
  EXPECT_EQ(rows.shape, (Shape{2, 3, 4}));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(rows.data) % 64, 0u);
  for (int64_t value : {3, 11}) {
    for (int i = 0; i < 6; ++i) tokens.as<int64_t>()[i] = value;
    binding->run();
    for (int i = 0; i < 24; ++i) ASSERT_EQ(rows.as<float>()[i], static_cast<float>(value));
  }
}

TEST_F(Sessions, ABindingOutlivesItsSessionAndTakesBuffersOfTheCaller) {
  auto session = Session::open(bundle("gemm"), on_cpu());
  const Tensor in = tensor("x", ATTN_FLOAT32, {3, 16}, std::vector<float>(48, 1.0F)), out("y", ATTN_FLOAT32, {3, 10});
  const Tensors expected = session->run({{"x", in.view()}});
  const auto binding = session->bind({}, {{"x", in.view()}}, {{"y", out.view()}});
  session.reset();
  binding->run();
  EXPECT_EQ(std::memcmp(out.buffer.data(), expected.at("y").buffer.data(), 120), 0);
}

TEST_F(Sessions, BindingsRefuseWhatDoesNotFit) {
  const auto session = Session::open(bundle("gemm"), on_cpu());
  const Tensor in = tensor("x", ATTN_FLOAT32, {3, 16}), out("y", ATTN_FLOAT32, {2, 10}), wide("y", ATTN_FLOAT64, {3, 10});
  const auto refusal = [&](std::map<std::string, int64_t> sizes, std::map<std::string, View> inputs, std::map<std::string, View> outputs,
                           attn_status status) { return raised([&] { session->bind(sizes, inputs, outputs); }, status); };
  EXPECT_EQ(refusal({{"bacth", 1}}, {}, {}, ATTN_ERROR_USAGE),
            "unknown dim \"bacth\"; did you mean batch? available: batch (bundle gemm.attn)");
  EXPECT_NE(refusal({{"batch", 5}}, {}, {}, ATTN_ERROR_INPUT), "");
  EXPECT_NE(refusal({{"batch", -1}}, {}, {}, ATTN_ERROR_INPUT), "");
  EXPECT_EQ(refusal({}, {{"q", in.view()}}, {}, ATTN_ERROR_USAGE), "unknown input \"q\"; available: x (bundle gemm.attn)");
  EXPECT_EQ(refusal({}, {{"x", in.view()}}, {{"y", out.view()}}, ATTN_ERROR_INPUT),
            "output \"y\": the buffer is float32 [2, 10]; expected float32 [3, 10] in C order (bundle gemm.attn).");
  EXPECT_NE(refusal({}, {{"x", in.view()}}, {{"y", wide.view()}}, ATTN_ERROR_INPUT), "");
}

TEST_F(Sessions, OutputsWhoseShapeFollowsFromTheValuesAreGivenAsTheyCome) {
  const auto session = Session::open(bundle("nonzero"), on_cpu());
  const Tensor x = tensor("x", ATTN_FLOAT32, {5}, {0, 1, 0, 1, 1});
  EXPECT_EQ(session->run({{"x", x.view()}}).at("i").shape, (Shape{1, 3}));
  Tensor room("i", ATTN_INT64, {1, 5});
  std::map<std::string, Session::Wanted> wanted{{"i", {{{}, {}, room.buffer.data()}, 40}}};
  session->run_into({{"x", x.view()}}, wanted);
  EXPECT_EQ(wanted["i"].view.shape, (Shape{1, 3}));
  EXPECT_EQ(static_cast<int64_t*>(room.buffer.data())[2], 4);
  wanted["i"].room = 23;
  EXPECT_NE(raised([&] { session->run_into({{"x", x.view()}}, wanted); }, ATTN_ERROR_INPUT).find("takes 24 bytes"), std::string::npos);
  // Bound to the shape that zeros give, another one is told.
  const auto binding = session->bind({{"N", 5}}, {}, {});
  std::memcpy(binding->inputs.at("x").data, x.buffer.data(), 20);
  EXPECT_NE(raised([&] { binding->run(); }, ATTN_ERROR_INPUT).find("Call run instead of bind"), std::string::npos);
}

TEST_F(Sessions, AGraphThatIsNotWhatTheManifestSaysIsRefused) {
  const std::string message = raised([] { Session::open(bundle("other_graph"), on_cpu()); });
  EXPECT_EQ(message, "bundle other_graph.attn: model.onnx has the inputs a, flag, many, its record says a. Export it again.");
}

TEST_F(Sessions, AGraphOfOtherSizesOrDtypesThanTheManifestSaysIsRefused) {
  const auto opened = bundle("gemm");
  const Graph& graph = opened->graph({});
  const auto refusal = [&](const std::function<void(GraphFile&)>& change) {
    GraphFile file{opened, &graph, &graph.precision({}, "a"), "bundle gemm.attn", graph.inputs, graph.outputs};
    change(file);
    return raised([&] { open_ort(OrtLibrary::load({}), file, "cpu", on_cpu(), "", nullptr); });
  };
  EXPECT_EQ(refusal([](GraphFile&) {}), "");
  EXPECT_EQ(refusal([](GraphFile& file) { file.inputs[0].dims[1] = {std::nullopt, 17, 17, 17}; }),
            "bundle gemm.attn: model.onnx has x: float32[batch=1..2147483647, 16], its record says x: float32[batch=1..4, 17]. "
            "Export it again.");
  EXPECT_NE(refusal([](GraphFile& file) { file.inputs[0].dims[1] = {"features", 1, 16, 16}; }), "");
  EXPECT_NE(refusal([](GraphFile& file) { file.outputs[0].dims.pop_back(); }), "");
  EXPECT_NE(refusal([](GraphFile& file) { file.outputs[0].dtype = ATTN_FLOAT64; }), "");
}

TEST_F(Sessions, RunFromSixteenThreadsAtOnce) {
  const auto session = Session::open(bundle("gemm"), on_cpu());
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int seed = 0; seed < 16; ++seed) {
    threads.emplace_back([&, seed] {
      const Tensor x = tensor("x", ATTN_FLOAT32, {1 + seed % 4, 16}, std::vector<float>(static_cast<size_t>(1 + seed % 4) * 16, 0.1F * static_cast<float>(seed)));
      const Tensors first = session->run({{"x", x.view()}});
      const auto binding = session->bind({}, {{"x", x.view()}}, {});
      for (int i = 0; i < 30; ++i) {
        const Tensors again = session->run({{"x", x.view()}});
        binding->run();
        const size_t bytes = again.at("y").view().bytes();
        if (std::memcmp(again.at("y").buffer.data(), first.at("y").buffer.data(), bytes) != 0) ++wrong;
        if (std::memcmp(binding->outputs.at("y").data, first.at("y").buffer.data(), bytes) != 0) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(Sessions, LowMemoryAnswersTheSame) {
  OpenOptions options = on_cpu();
  options.low_memory = true;
  const auto opened = bundle("gemm");
  EXPECT_NO_THROW(verify(opened, options, {}).require());
}

TEST_F(Sessions, WhereNodesArePlacedCanBeHeardInThisVersion) {
  // A provider that is named and adds nothing: all nodes go to the CPU, which has to be noticed.
  const auto opened = bundle("gemm");
  const Graph& graph = opened->graph({});
  const GraphFile file{opened, &graph, &graph.precision({}, "a"), "bundle gemm.attn", graph.inputs, graph.outputs};
  const OrtLibrary& library = OrtLibrary::load({});
  EXPECT_EQ(raised([&] { open_ort(library, file, "cuda", on_cpu(), "CUDAExecutionProvider", [](OrtSessionOptions&) {}); }, ATTN_ERROR_BACKEND),
            "bundle gemm.attn: CUDAExecutionProvider was asked for and took none of the nodes, which went to CPUExecutionProvider. "
            "Take backend ort.");
  // The way of a GPU, on the CPU: a plain run into the caller's buffers each time.
  const auto engine = open_ort(library, file, "cuda", on_cpu(), "CPUExecutionProvider", [](OrtSessionOptions&) {});
  const Tensor in = tensor("x", ATTN_FLOAT32, {1, 16}, std::vector<float>(16, 1)), out("y", ATTN_FLOAT32, {1, 10});
  const auto call = engine->bind({in.view()}, {out.view()});
  call->run();
  const Tensors expected = Session::open(opened, on_cpu())->run({{"x", in.view()}});
  EXPECT_EQ(std::memcmp(out.buffer.data(), expected.at("y").buffer.data(), 40), 0);
}

#ifdef ATTN_FAKE_PROVIDER
TEST_F(Sessions, APluginProviderIsRegisteredAndToldItsOptions) {
  const OrtLibrary& library = OrtLibrary::load({});
  const Plugin plugin{"FakeProvider", ATTN_FAKE_PROVIDER};
  if (library.api_version < 23) {  // the fake is built with the headers of 1.23, and old libraries know no plugins
    EXPECT_NE(register_plugin(library, {"AnyProvider", "none.so"}), std::nullopt);
    return;
  }
  ASSERT_EQ(register_plugin(library, plugin), std::nullopt);
  ASSERT_EQ(register_plugin(library, plugin), std::nullopt);  // once is enough
  const Scratch scratch;
  const auto opened = bundle("gemm");
  const Graph& graph = opened->graph({});
  const GraphFile file{opened, &graph, &graph.precision({}, "a"), "bundle gemm.attn", graph.inputs, graph.outputs};
  const auto open_at = [&](const std::string& address) {
    return raised([&] {
      open_ort(library, file, "cuda", on_cpu(), plugin.provider, [&](OrtSessionOptions& session) {
        append_plugin(library, session, plugin, address, {{"record", scratch.path() / "told"}, {"shapes", "x:1x16"}});
      });
    }, ATTN_ERROR_BACKEND);
  };
  EXPECT_EQ(open_at(""), "bundle gemm.attn: FakeProvider was asked for and took none of the nodes, which went to CPUExecutionProvider. "
                         "Take backend ort.");
  std::string told;
  std::getline(std::ifstream(scratch.path() / "told"), told);
  EXPECT_EQ(told, "shapes=x:1x16");
  EXPECT_NE(open_at("0000:99:00.0").find("offers 1 devices, and the one that was asked for is none of them"), std::string::npos);
  const auto reason = register_plugin(library, {"NoProvider", "/nowhere/provider.so"});
  ASSERT_NE(reason, std::nullopt);
  EXPECT_EQ(reason->rfind("the plugin /nowhere/provider.so does not register (", 0), 0u) << *reason;
}
#endif

TEST_F(Sessions, VerifyHoldsEveryCase) {
  int told = 0;
  const OnResult count{[&](const CaseResult& result) { told += result.passed(); }, {}};
  EXPECT_NO_THROW(verify(bundle("gemm"), on_cpu(), count).require());
  EXPECT_EQ(told, 3);
  EXPECT_NO_THROW(verify(bundle("gemm"), on_cpu("half"), {}).require());
  EXPECT_NO_THROW(verify(bundle("half_norm"), on_cpu(), {}).require());
}

TEST_F(Sessions, VerifyTellsWhichCaseIsWrongAndWhere) {
  try {
    verify(bundle("wrong"), on_cpu(), {}).require();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status, ATTN_ERROR_PARITY);
    EXPECT_STREQ(error.what(), "bundle wrong.attn: 1 of 3 golden cases do not match on ort (cpu): opt. Its answers here are not PyTorch's.");
    EXPECT_EQ(error.details.rfind("case  output  index   expected", 0), 0u) << error.details;
    EXPECT_NE(error.details.find("[1, 7]"), std::string::npos) << error.details;
  }
  EXPECT_NE(raised([] { verify(bundle("tiny"), on_cpu(), {}); }).find("has no golden cases"), std::string::npos);
}

TEST(OrtLibraries, AreRefusedWithTheReason) {
  EXPECT_NE(raised([] { OrtLibrary::load("/nowhere/libonnxruntime.so.1"); }, ATTN_ERROR_BACKEND).find("cannot open"), std::string::npos);
  EXPECT_NE(raised([] { OrtLibrary::load("libm.so.6"); }, ATTN_ERROR_BACKEND).find("no OrtGetApiBase"), std::string::npos);
}

TEST_F(Sessions, NegotiateTheVersion) {
  const OrtLibrary& library = OrtLibrary::load({});
  EXPECT_EQ(library.version.rfind("1.", 0), 0u);
  EXPECT_GE(library.api_version, kOldestOrtApi);
  EXPECT_LE(library.api_version, uint32_t{ORT_API_VERSION});
  EXPECT_LE(library.api_version, static_cast<uint32_t>(std::atoi(library.version.c_str() + 2)));
  EXPECT_EQ(&OrtLibrary::load(library.path.string()), &library);  // one file is one library
}

}  // namespace
}  // namespace attn
