// Bundles.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>

#include "bundle/bundle.h"
#include "support/scratch.h"

namespace attn {
namespace {

namespace fs = std::filesystem;

class BundleTest : public testing::Test {
 protected:
  std::string refusal(const std::function<void(Json&)>& change) {
    const fs::path path = make_bundle(scratch, "small.attn", change);
    return raised([&] { Bundle::open(path); });
  }
  Scratch scratch;
};

TEST_F(BundleTest, IsRead) {
  const auto bundle = Bundle::open(make_bundle(scratch).string() + "/");
  EXPECT_EQ(bundle->where, "bundle small.attn");
  EXPECT_EQ(bundle->name, "small");
  const Graph& graph = bundle->graph({});
  EXPECT_EQ(graph.inputs[0].text(), "x: float32[batch=1..4, 3]");
  EXPECT_EQ(graph.precision({}, "w").name, "fp32");
  EXPECT_EQ(graph.precisions[0].name, "other");
  EXPECT_EQ(graph.precision("other", "w").tolerance.rtol, 2e-5);
  EXPECT_EQ(raised([&] { graph.precision("fp16", "w"); }, ATTN_ERROR_USAGE), "unknown precision \"fp16\"; available: other, fp32 (w)");
  EXPECT_EQ(raised([&] { bundle->graph("step"); }), "bundle small.attn: has no graph \"step\"; name one of model");
  EXPECT_EQ(bundle->golden_inputs(graph, graph.golden[0]).at("x").shape, (Shape{1, 3}));
  EXPECT_EQ(bundle->golden_outputs(graph, graph.golden[0]).count("y"), 1u);
  EXPECT_EQ(bundle->asset("labels")->size(), 2u);
  EXPECT_EQ(bundle->asset("image"), std::nullopt);
  EXPECT_EQ(raised([&] { bundle->file("modl.onnx"); }), "bundle small.attn: lists no file \"modl.onnx\"; did you mean model.onnx?");
}

TEST_F(BundleTest, FillsAreRangesOfItsFloatOutputs) {
  const auto with = [](const Json& fills) {
    return [fills](Json& manifest) { manifest["graphs"]["model"]["precisions"]["fp32"]["tolerance"]["fills"] = fills; };
  };
  const Json range = Json::array({-2e9, -1e9}), point = Json::array({7, 7});
  const auto bundle = Bundle::open(make_bundle(scratch, "small.attn", with({{"y", Json::array({range, point})}})));
  const Tolerance& tolerance = bundle->graph({}).precision("fp32", "w").tolerance;
  EXPECT_EQ(tolerance.fills_of("y"), (std::vector<FillRange>{{-2e9, -1e9}, {7, 7}}));
  EXPECT_TRUE(tolerance.fills_of("z").empty());
  EXPECT_TRUE(Bundle::open(make_bundle(scratch))->graph({}).precision("fp32", "w").tolerance.fills.empty());
  const std::string place = "bundle small.attn: manifest.json: graphs.model.precisions.fp32.tolerance.fills";
  EXPECT_EQ(refusal(with({{"x", Json::array({range})}})),
            place + ": \"x\" is no float output of the graph, which has [\"y\"]; re-export the bundle");
  for (const auto& [low, high] : std::vector<FillRange>{{-1e9, -2e9}, {-1, 1}, {0, 1}, {-1, 0}}) {
    const std::string told = refusal(with({{"y", Json::array({range, Json::array({low, high})})}}));
    EXPECT_EQ(told.find(place + ": range 1 of \"y\" is "), 0u) << told;
  }
  EXPECT_EQ(refusal(with({{"y", Json::array({"low", "high"})}})).find(place + ".y[0]: got"), 0u);
  EXPECT_EQ(refusal(with({{"y", Json::array()}})).find(place + ".y: got [], expected 1 to 16 items"), 0u);
}

TEST_F(BundleTest, WhatIsNotThereIsTold) {
  make_bundle(scratch, "translate.attn");
  const fs::path near = scratch.path() / "translat.attn", file = scratch.write("file.attn", "");
  EXPECT_EQ(raised([&] { Bundle::open(near); }),
            "bundle translat.attn: " + near.string() + " does not exist; did you mean translate.attn?");
  const fs::path far = scratch.path() / "no" / "a.attn";
  EXPECT_EQ(raised([&] { Bundle::open(far); }), "bundle a.attn: " + far.string() + " does not exist; check the path");
  EXPECT_EQ(raised([&] { Bundle::open(file); }),
            "bundle file.attn: " + file.string() + " is a file, expected a folder NAME.attn; check the path");
  EXPECT_NE(raised([&] { Bundle::open(scratch.path() / std::string(300, 'a') / "a.attn"); }).find("File name too long"), std::string::npos);
}

TEST_F(BundleTest, ChangedFilesAreFound) {
  const fs::path path = make_bundle(scratch);
  scratch.write("small.attn/model.onnx.data", "weightz");
  EXPECT_NE(raised([&] { Bundle::open(path); }).find("sha256 of model.onnx.data is "), std::string::npos);
  scratch.write("small.attn/model.onnx.data", "weights!");
  EXPECT_NE(raised([&] { Bundle::open(path); }).find("model.onnx.data has 8 bytes, manifest says 7;"), std::string::npos);
  fs::remove(path / "model.onnx.data");
  EXPECT_NE(raised([&] { Bundle::open(path); }).find("model.onnx.data is missing;"), std::string::npos);
  EXPECT_EQ(refusal([](Json& manifest) { manifest["graphs"]["model"]["precisions"]["fp32"]["data"] = Json::array({"model.onnx"}); }),
            "bundle small.attn: model.onnx keeps tensors in \"model.onnx.data\", which the manifest does not list as its data, only "
            "[\"model.onnx\"]; re-export the bundle");
}

TEST_F(BundleTest, AssetsHaveTheirForms) {
  const auto image = [&](const std::string& mean, const std::string& std) {
    const std::string text = R"({"input": "x", "height": 2, "width": 8, "channels": 3, "resize": "nearest", "scale": 0.5, "mean": )" +
                             mean + ", \"std\": " + std + "}";
    const fs::path path = make_bundle(scratch, "a.attn", [&](Json& manifest) {
      manifest["assets"]["image"] = "assets/image.json";
      manifest["files"]["assets/image.json"] = {{"sha256", sha256_text(text)}, {"size", text.size()}};
    });
    scratch.write("a.attn/assets/image.json", text);
    return raised([&] { Bundle::open(path)->asset("image"); });
  };
  EXPECT_EQ(image("[0, 0, 0]", "[1, 1, 1]"), "");
  EXPECT_EQ(image("[0]", "[1, 1, 1]"), "bundle a.attn: asset image: mean and std: got 1 and 3, expected 3 values; re-export the bundle");
  EXPECT_EQ(image("[0, 0, 0]", "[1, 1]"), "bundle a.attn: asset image: mean and std: got 3 and 2, expected 3 values; re-export the bundle");
  EXPECT_EQ(image("[0, 0, 0]", "[1, 0, 1]"), "bundle a.attn: asset image: std[1]: got 0, expected more than 0; re-export the bundle");
}

TEST_F(BundleTest, SizesOfCasesLieInTheirRangesAtBothEnds) {
  const auto with = [&](const char* key, int64_t size) {
    return refusal([&](Json& manifest) { manifest["graphs"]["model"]["golden"][0][key]["batch"] = size; });
  };
  const std::string place = "bundle small.attn: manifest.json: graphs.model.golden[0].";
  EXPECT_EQ(with("checked_sizes", 1), "");
  EXPECT_EQ(with("checked_sizes", 4), "");
  EXPECT_EQ(with("checked_sizes", 0), place + "checked_sizes: \"batch\" is 0, expected 1..4; re-export the bundle");
  EXPECT_EQ(with("sizes", 5), place + "sizes: \"batch\" is 5, expected 1..4; re-export the bundle");
}

TEST_F(BundleTest, OneThatAKilledExportHadSetAsideIsPutBack) {
  const fs::path path = make_bundle(scratch), staging = scratch.path() / ".small.attn.tmp-1-abcd";
  fs::create_directories(staging / "old");
  fs::rename(path, staging / "old" / "small.attn");
  {
    const int descriptor = ::open(staging.c_str(), O_RDONLY);  // an export that is at work
    ASSERT_EQ(::flock(descriptor, LOCK_EX), 0);
    EXPECT_NE(raised([&] { Bundle::open(path); }).find("does not exist"), std::string::npos);
    ::close(descriptor);
  }
  EXPECT_EQ(Bundle::open(path)->name, "small");
  EXPECT_TRUE(fs::is_empty(staging / "old"));
  // The first export to a name has nothing to set aside, and is not waited for.
  const int descriptor = ::open(staging.c_str(), O_RDONLY);
  ASSERT_EQ(::flock(descriptor, LOCK_EX), 0);
  fs::rename(staging, scratch.path() / ".new.attn.tmp-1-abcd");
  const auto began = std::chrono::steady_clock::now();
  EXPECT_NE(raised([&] { Bundle::open(scratch.path() / "new.attn"); }).find("does not exist"), std::string::npos);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(900));
  ::close(descriptor);
  fs::rename(path, scratch.path() / "moved.attn");  // by somebody: there is nothing to put back
  EXPECT_NE(raised([&] { Bundle::open(path); }).find("does not exist"), std::string::npos);
}

TEST_F(BundleTest, IsReadWhileItIsReplaced) {
  const std::string longer = "{\"any\": 12345}";  // what fits one manifest does not fit the other
  const fs::path one = make_bundle(scratch), other = make_bundle(scratch, "other.attn", [&](Json& manifest) {
    manifest["files"]["assets/other.json"] = {{"sha256", sha256_text(longer)}, {"size", longer.size()}};
  });
  scratch.write("other.attn/assets/other.json", longer);
  std::atomic<bool> done{false};
  std::thread exporter([&] {
    for (int i = 0; !done; ++i) {
      ::renameat2(AT_FDCWD, one.c_str(), AT_FDCWD, other.c_str(), RENAME_EXCHANGE);
      fs::last_write_time(other, fs::file_time_type::clock::now());  // the next one is a new one, as an export's is
      std::this_thread::sleep_for(std::chrono::microseconds(i % 7 * 200));
    }
  });
  int read = 0;
  for (int times = 0; times < 40; ++times) {
    const std::string message = raised([&] { Bundle::open(one), ++read; });
    EXPECT_TRUE(message.empty() || message.find("replaced over and over") != std::string::npos) << message;
  }
  done = true;
  exporter.join();
  EXPECT_GT(read, 0);
}

}  // namespace
}  // namespace attn
