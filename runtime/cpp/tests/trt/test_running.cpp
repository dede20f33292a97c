// Engines run, over a fake TensorRT and a fake driver (fake_tensorrt/): what is called and when, what is refused, and that nothing leaks. That
// it fits the real libraries these tests cannot tell.
#include <dlfcn.h>

#include <array>
#include <thread>

#include "session/session.h"
#include "support/trt_bundles.h"
#include "trt/library.h"

namespace attn {
namespace {

const std::string kFolder = ATTN_FAKES;

template <typename Function>
Function driver_function(const char* name) {
  static void* driver = dlopen((kFolder + "/libcuda.so.1").c_str(), RTLD_NOW);
  return reinterpret_cast<Function>(dlsym(driver, name));
}

int held() { return driver_function<int (*)()>("fake_driver_held")(); }
void memory_for(int count) { driver_function<void (*)(int)>("fake_driver_memory")(count); }

class TrtRunning : public testing::Test {
 protected:
  void SetUp() override {
    setenv("ATTN_TRT_PLUGIN", (kFolder + "/libattn_fake_plugin.so").c_str(), 1);
    unsetenv("ATTN_TENSORRT");
    unsetenv("ATTN_FAKE_TENSORRT");
  }
  void TearDown() override {
    memory_for(-1);
    EXPECT_EQ(held(), 0);  // of memory, streams, contexts
  }

  static std::shared_ptr<Session> open(const EngineBundle& bundle, const std::string& device = "cuda") {
    OpenOptions options;
    options.device = device, options.backend = "trt";
    return Session::open(bundle.open(), options);
  }
  static std::string refusal(const EngineBundle& bundle, attn_status status = ATTN_ERROR_BACKEND, const std::string& device = "cuda") {
    return raised([&] { open(bundle, device); }, status);
  }
  // As `refusal` of the one backend, without what is said around it.
  static std::string reason(const EngineBundle& bundle) {
    const std::string text = refusal(bundle), begin = "backend trt can't run bundle small.attn on cuda: trt on cuda (",
                      end = "). See attn-run doctor.";
    EXPECT_EQ(text.substr(0, begin.size()), begin);
    return text.size() < begin.size() + end.size() ? text : text.substr(begin.size(), text.size() - begin.size() - end.size());
  }
  // A library of another name, hence loaded anew.
  static std::string library(const Scratch& scratch, const std::string& name = "libother.so") {
    const auto path = scratch.path() / name;
    std::filesystem::create_symlink(kFolder + "/libnvinfer.so.10", path);
    return path.string();
  }
};

std::vector<float> numbers(size_t count, float first = 1) {
  std::vector<float> made(count);
  for (size_t i = 0; i < count; ++i) made[i] = first + static_cast<float>(i);
  return made;
}

std::vector<float> answer(const Session& session, std::vector<float> x) {
  const View view{ATTN_FLOAT32, {static_cast<int64_t>(x.size() / 3), 3}, x.data()};
  const Tensors got = session.run({{"x", view}});
  const View y = got.at("y").view();
  EXPECT_EQ(y.shape, view.shape);
  return {y.as<float>(), y.as<float>() + elements(y.shape)};
}

std::vector<float> doubled(std::vector<float> x) {
  for (float& each : x) each *= 2;
  return x;
}

TEST_F(TrtRunning, AnEngineRunsAtEveryShapeOfItsProfile) {
  const EngineBundle bundle;
  bundle.put(kDoubles);
  const auto session = open(bundle);
  EXPECT_EQ(session->backend, "trt");
  EXPECT_EQ(session->choice, "trt on cuda, fp32");
  EXPECT_EQ(session->passed_over, "");
  for (const size_t batch : {1U, 3U, 2U, 2U, 1U}) EXPECT_EQ(answer(*session, numbers(3 * batch)), doubled(numbers(3 * batch))) << batch;
}

TEST_F(TrtRunning, ItComesFirstOnAGpu) {
  const EngineBundle bundle;
  bundle.put(kDoubles);
  OpenOptions options;
  const auto session = Session::open(bundle.open(), options);
  EXPECT_EQ(session->choice.find("trt on cuda"), 0U) << session->choice;
  EXPECT_EQ(session->passed_over.find("openvino, ort_rtx, ort_tensorrt (only when"), 0U) << session->passed_over;
}

TEST_F(TrtRunning, ShapesBeyondTheProfileAreRefused) {
  const EngineBundle bundle;
  bundle.put(kDoubles);
  const auto session = open(bundle);
  EXPECT_EQ(raised([&] { answer(*session, numbers(12)); }, ATTN_ERROR_INPUT),
            "input \"x\": got [4, 3]; axis 0 is 4, the engine was built for 1..3 (bundle small.attn, engine model.fp32.tensorrt.engine). "
            "Build it for more: attn-run compile " + bundle.path().string() + " --minShapes x:1x3 --optShapes x:2x3 --maxShapes x:4x3");
  EXPECT_EQ(answer(*session, numbers(3)), doubled(numbers(3)));  // and it goes on
}

TEST_F(TrtRunning, EachShapeRunsWithItsProfile) {
  const EngineBundle bundle;
  bundle.put("input x float batch,3\noutput y float batch,3\nprofile x 1,3 1,3 1,3\nnext\nprofile x 2,3 4,3 4,3\nscratch 1\n");
  const auto session = open(bundle);
  for (const size_t batch : {1U, 4U, 1U, 2U, 4U}) EXPECT_EQ(answer(*session, numbers(3 * batch)), doubled(numbers(3 * batch))) << batch;
}

TEST_F(TrtRunning, ABoundCallReadsAndWritesTheCallersMemory) {
  const EngineBundle bundle;
  bundle.put(kDoubles);
  const auto session = open(bundle);
  std::vector<float> x = numbers(6), y(6, -1);
  const auto binding = session->bind({{"batch", 2}}, {{"x", {ATTN_FLOAT32, {2, 3}, x.data()}}}, {{"y", {ATTN_FLOAT32, {2, 3}, y.data()}}});
  EXPECT_EQ(y, std::vector<float>(6, -1));  // nothing was written yet
  binding->run();
  EXPECT_EQ(y, doubled(x));
  x.front() = 50;  // in its place
  binding->run();
  EXPECT_EQ(y, doubled(x));
  const auto own = session->bind({{"batch", 3}}, {}, {});
  own->inputs.at("x").as<float>()[8] = 21;
  own->run();
  EXPECT_EQ(own->outputs.at("y").as<float>()[8], 42);
}

TEST_F(TrtRunning, ABindingOutlivesItsSession) {
  const EngineBundle bundle;
  bundle.put(kDoubles);
  auto session = open(bundle);
  const auto binding = session->bind({}, {}, {});
  session.reset();
  binding->inputs.at("x").as<float>()[0] = 4;
  binding->run();
  EXPECT_EQ(binding->outputs.at("y").as<float>()[0], 8);
}

TEST_F(TrtRunning, ManyThreadsShareASession) {
  const EngineBundle bundle;
  bundle.put(kDoubles);
  const auto session = open(bundle);
  std::vector<std::thread> threads;
  std::array<int, 8> wrong{};
  for (size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < 20; ++i) {
        const std::vector<float> x = numbers(3 * (1 + (t + i) % 3), static_cast<float>(100 * t + i));
        wrong[t] += answer(*session, x) != doubled(x);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, (std::array<int, 8>{}));
}

// ---- Shapes that follow from values, values that decide on shapes ----

void as_nonzero(Json& manifest) {
  Json& y = manifest["graphs"]["model"]["outputs"][0];
  y["dtype"] = "int64";
  y["dims"] = {{{"name", nullptr}, {"min", 1}, {"opt", 1}, {"max", 1}}, {{"name", "found"}, {"min", 0}, {"opt", 1}, {"max", 99}}};
}
const std::string kPlaces = "input x float batch,3\noutput y int64 1,?\nprofile x 1,3 2,3 3,3\n";

std::vector<int64_t> places(const Session& session, std::vector<float> x) {
  const Tensors got = session.run({{"x", {ATTN_FLOAT32, {static_cast<int64_t>(x.size() / 3), 3}, x.data()}}});
  const View y = got.at("y").view();
  return {y.as<int64_t>(), y.as<int64_t>() + elements(y.shape)};
}

TEST_F(TrtRunning, AnOutputMayBeAsLargeAsItsValuesSay) {
  const EngineBundle bundle(as_nonzero);
  bundle.put(kPlaces);
  const auto session = open(bundle);
  EXPECT_EQ(places(*session, {0, 5, 0}), (std::vector<int64_t>{1}));
  EXPECT_EQ(places(*session, {1, 1, 1, 0, 1, 0}), (std::vector<int64_t>{0, 1, 2, 4}));
  EXPECT_EQ(places(*session, {0, 0, 0}), std::vector<int64_t>{});
  EXPECT_EQ(places(*session, {7, 0, 0}), (std::vector<int64_t>{0}));
}

TEST_F(TrtRunning, NoMemoryForSuchAnOutputIsAnError) {
  const EngineBundle bundle(as_nonzero);
  bundle.put(kPlaces);
  const auto session = open(bundle);
  EXPECT_EQ(places(*session, {0, 5, 0}), (std::vector<int64_t>{1}));
  memory_for(0);
  std::vector<float> many(9, 1);
  EXPECT_NE(raised([&] { places(*session, many); }, ATTN_ERROR_BACKEND), "");
  memory_for(-1);
  EXPECT_EQ(places(*session, many).size(), 9U);
}

TEST_F(TrtRunning, ABoundOutputOfAnotherSizeIsRefused) {
  const EngineBundle bundle(as_nonzero);
  bundle.put(kPlaces);
  const auto session = open(bundle);
  const auto binding = session->bind({{"batch", 1}}, {}, {});  // zeros: no places
  binding->run();
  binding->inputs.at("x").as<float>()[1] = 1;
  EXPECT_EQ(raised([&] { binding->run(); }, ATTN_ERROR_INPUT),
            "bundle small.attn, engine model.fp32.tensorrt.engine: y has shape [1, 1] for these values, and there is room for [1, 0]. Call run "
            "without buffers of your own.");
}

TEST_F(TrtRunning, AnInputOnTheHostIsNotCopiedToTheDevice) {
  const EngineBundle bundle([](Json& manifest) {
    Json& inputs = manifest["graphs"]["model"]["inputs"];
    inputs.push_back({{"name", "sizes"}, {"dtype", "int64"}, {"dims", Json::array({{{"name", nullptr}, {"min", 2}, {"opt", 2}, {"max", 2}}})}});
    manifest["graphs"]["model"]["golden"] = Json::array();
  });
  bundle.put("input x float batch,3\ninput sizes int64 2 host\noutput y float batch,3\nprofile x 1,3 2,3 3,3\n");
  const auto session = open(bundle);
  std::vector<float> x = numbers(3);
  std::vector<int64_t> sizes{1, 3};
  for (int turn = 0; turn < 3; ++turn) {
    sizes[0] += turn;
    const Tensors got = session->run({{"x", {ATTN_FLOAT32, {1, 3}, x.data()}}, {"sizes", {ATTN_INT64, {2}, sizes.data()}}});
    EXPECT_EQ(got.at("y").view().as<float>()[2], 6);
  }
}

// ---- What does not fit ----

TEST_F(TrtRunning, ALibraryOfAnotherMajorIsNeverCalled) {
  const EngineBundle bundle;
  bundle.put(kDoubles);
  const std::string other = library(bundle.scratch());
  setenv("ATTN_TENSORRT", other.c_str(), 1);
  const auto told = [&](const char* version) {
    setenv("ATTN_FAKE_TENSORRT", version, 1);
    return reason(bundle);
  };
  EXPECT_EQ(told("110100"), other + " is of version 11.1.0; this plugin was compiled with the headers of TensorRT 10.9.0, and no call into "
                                    "another major is safe. Build it with that library's headers, or name another library in ATTN_TENSORRT");
  EXPECT_NE(told("8601").find("is of version 8.6.1; this plugin"), std::string::npos);
  EXPECT_NE(told("10701").find("is of version 1.7.1; this plugin"), std::string::npos);  // TensorRT-RTX
  EXPECT_EQ(told("100001"), other + " is of version 10.0.1, expected 8.6, 10.3 or newer");
  unsetenv("ATTN_FAKE_TENSORRT");
  EXPECT_EQ(refusal(bundle), "");  // what was refused may be tried again
}

TEST_F(TrtRunning, WhatIsMissingIsTold) {
  const EngineBundle bundle;
  EXPECT_NE(reason(bundle).find("no engine has been built. Build one: attn-run compile "), std::string::npos);
  setenv("ATTN_TENSORRT", "/nowhere/libnvinfer.so.10", 1);
  EXPECT_EQ(reason(bundle), "TensorRT does not load (/nowhere/libnvinfer.so.10: cannot open shared object file: No such file or directory); "
                            "install it, or name its library in ATTN_TENSORRT");
  setenv("ATTN_TENSORRT", (kFolder + "/libcuda.so.1").c_str(), 1);
  EXPECT_NE(reason(bundle).find("libcuda.so.1 is no library of TensorRT: it has no getInferLibVersion"), std::string::npos);
  setenv("ATTN_TRT_PLUGIN", "/nowhere/plugin.so", 1);
  EXPECT_EQ(reason(bundle).find("the plugin for TensorRT does not load (/nowhere/plugin.so: cannot open"), 0U);
  setenv("ATTN_TRT_PLUGIN", (kFolder + "/libcuda.so.1").c_str(), 1);
  EXPECT_NE(reason(bundle).find("libcuda.so.1 is no plugin for TensorRT: it has no attn_trt_plugin_table"), std::string::npos);
  EXPECT_NE(refusal(bundle, ATTN_ERROR_BACKEND, "cuda:7").find("there is no GPU 7; this machine has 0 (Fake 0), 1 (Fake 1)"), std::string::npos);
  EXPECT_NE(refusal(bundle, ATTN_ERROR_BACKEND, "cpu").find("(TensorRT engines run on an NVIDIA GPU; take device cuda)"), std::string::npos);
}

TEST_F(TrtRunning, AnEngineOfAnotherModelIsRefused) {
  const EngineBundle bundle;
  bundle.put(kDoubles, [](Json& key) { key["model_sha256"] = std::string(64, '0'); });
  EXPECT_NE(reason(bundle).find("no engine fits; model.fp32.tensorrt.engine differs in model_sha256 (wanted "), std::string::npos);
}

TEST_F(TrtRunning, TheGpuThatWasAskedForCounts) {
  const EngineBundle bundle;
  bundle.put(kDoubles);
  EXPECT_NE(refusal(bundle, ATTN_ERROR_BACKEND, "cuda:1").find("compute capability (wanted 8.0, found 8.9)"), std::string::npos);
}

TEST_F(TrtRunning, AnEngineThatIsNotWhatItsKeySaysIsRefused) {
  const auto told = [](const std::string& plan) {
    const EngineBundle bundle;
    bundle.put(plan);
    return reason(bundle);
  };
  EXPECT_EQ(told("input x float batch,3\noutput z float batch,3\nprofile x 1,3 2,3 3,3\n"),
            "bundle small.attn: the engine has the tensors x, z, the graph x, y. Build it again.");
  EXPECT_EQ(told("input x float batch,3\nprofile x 1,3 2,3 3,3\n"),
            "bundle small.attn: the engine has the tensors x, the graph x, y. Build it again.");
  EXPECT_EQ(told("input x float batch,3\noutput y float batch,3\noutput z float batch,3\nprofile x 1,3 2,3 3,3\n"),
            "bundle small.attn: the engine has the tensors x, y, z, the graph x, y. Build it again.");
  EXPECT_EQ(told("input x half batch,3\noutput y float batch,3\nprofile x 1,3 2,3 3,3\n"),
            "bundle small.attn: the engine has the input x: float16[-1, 3], the graph the input x: float32[batch=1..4, 3]. Build it again.");
  EXPECT_EQ(told("input x float batch\noutput y float batch,3\nprofile x 1 2 3\n"),
            "bundle small.attn: the engine has the input x: float32[-1], the graph the input x: float32[batch=1..4, 3]. Build it again.");
  EXPECT_EQ(told("output x float 4,3\ninput y float batch,3\nprofile y 1,3 2,3 3,3\n"),
            "bundle small.attn: the engine has the output x: float32[4, 3], the graph the input x: float32[batch=1..4, 3]. Build it again.");
  EXPECT_EQ(told("input x bf16 batch,3\noutput y float batch,3\nprofile x 1,3 2,3 3,3\n"),
            "bundle small.attn, engine model.fp32.tensorrt.engine: tensor \"x\" is BF16; sessions take bool, float16, float32, int32, int64, "
            "int8, uint8");
  EXPECT_NE(told("input x float batch,3\noutput y float batch,3\nprofile x 1 2 3\n").find("profile 0 has x as [1], which does not fit [-1, 3]"),
            std::string::npos);
}

TEST_F(TrtRunning, APlanThatTheLibraryRefusesIsAnEngineError) {
  const EngineBundle bundle;
  bundle.put("rubbish");
  EXPECT_EQ(refusal(bundle, ATTN_ERROR_ENGINE),
            "bundle small.attn, engine model.fp32.tensorrt.engine: tensorrt 10.9.0.34 can't load it: Serialization assertion magicTagRead == "
            "kMAGIC_TAG failed.. Build it again here.");
}

TEST_F(TrtRunning, AChangedPlanNeverReachesTheLibrary) {
  const EngineBundle bundle;
  bundle.put(kDoubles);
  bundle.scratch().write("small.attn/engines/model.fp32.tensorrt.engine", std::string(kDoubles.size(), 'x'));
  EXPECT_NE(refusal(bundle, ATTN_ERROR_ENGINE).find("it was changed or cut short; build it again"), std::string::npos);
}

TEST_F(TrtRunning, WhatFailsOnTheWayIsToldInOneLine) {
  const auto told = [](const std::string& what) {
    const EngineBundle bundle;
    bundle.put(kDoubles + "fail " + what + "\n");
    const auto session = open(bundle);
    const std::string text = raised([&] { answer(*session, numbers(3)); }, ATTN_ERROR_BACKEND);
    EXPECT_NE(raised([&] { session->bind({}, {}, {}); }, ATTN_ERROR_BACKEND), "");
    return text;
  };
  const std::string where = "bundle small.attn, engine model.fp32.tensorrt.engine: TensorRT ";
  EXPECT_EQ(told("enqueue"), where + "does not run the engine: the kernel was not there");
  EXPECT_EQ(told("context"), where + "makes no execution context: it does not say why");
  EXPECT_EQ(told("shape"), where + "does not take [1, 3] for input x: shape of no good");
  EXPECT_EQ(told("address"), where + "does not take an address for x: it does not say why");
  EXPECT_EQ(told("infer"), where + "does not know the shapes of x: it does not say why");
}

TEST_F(TrtRunning, MemoryThatRunsOutLeavesNothingBehind) {
  const EngineBundle bundle;
  bundle.put(kDoubles);
  const auto session = open(bundle);
  int tries = 0;
  for (; tries < 50; ++tries) {
    memory_for(tries);
    const std::string text = raised([&] { answer(*session, numbers(6)); }, ATTN_ERROR_BACKEND);
    if (text.empty()) break;
    EXPECT_NE(text.find("answers CUDA_ERROR_OUT_OF_MEMORY (out of memory)"), std::string::npos) << text;
  }
  EXPECT_GE(tries, 3);
  EXPECT_LT(tries, 50);
  memory_for(0);
  EXPECT_NE(raised([&] { session->bind({}, {}, {}); }, ATTN_ERROR_BACKEND), "");
  EXPECT_EQ(answer(*session, numbers(6)), doubled(numbers(6)));  // in what is there
  EXPECT_NE(raised([&] { answer(*session, numbers(300)); }, ATTN_ERROR_INPUT), "");
}

TEST_F(TrtRunning, TheProofRunsOverIt) {
  const EngineBundle bundle;  // its golden case: zeros, of which the double is 0
  bundle.put(kDoubles);
  attn_bundle* opened = nullptr;
  ASSERT_EQ(attn_bundle_open(bundle.path().c_str(), &opened), ATTN_OK);
  attn_open_options options = ATTN_OPEN_OPTIONS_INIT;
  options.device = "cuda", options.backend = "trt";
  EXPECT_EQ(attn_bundle_verify(opened, &options, nullptr, nullptr), ATTN_OK) << attn_last_error();
  attn_bundle_close(opened);
}

}  // namespace
}  // namespace attn
