// Bundles, through the C interface too, and the words of specs.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <climits>
#include <cstdio>
#include <thread>

#include "bundle/bundle.h"
#include "c_api/errors.h"
#include "support/scratch.h"

namespace attn {
namespace {

namespace fs = std::filesystem;

const Dim batch{"batch", 1, 8, 32}, length{"T", 1, 128, 256}, three{std::nullopt, 3, 3, 3};
const TensorSpec tokens{"tokens", ATTN_INT64, {batch, length}, "", "", {}, {}}, mask{"mask", ATTN_BOOL, {batch, length}, "", "", {}, {}},
    image{"image", ATTN_FLOAT32, {batch, three}, "", "", {}, {}};

TEST(Spec, WrongInputsAreToldInTheHouseForm) {
  const Signature right{ATTN_BOOL, {1, 5}};
  const std::pair<std::map<std::string, Signature>, std::string> cases[] = {
      {{{"tokens", {ATTN_INT64, {1, 300}}}, {"mask", right}},
       "input \"tokens\": got int64 [1, 300]; dim T allows 1..256 (bundle translate.attn). Re-export with --dim T=1:128:300."},
      {{{"tokens", {ATTN_INT64, {1, 0}}}, {"mask", right}},
       "input \"tokens\": got int64 [1, 0]; dim T allows 1..256 (bundle translate.attn). Re-export with --dim T=0:128:256."},
      {{{"tokens", {ATTN_INT32, {1, 5}}}, {"mask", right}},
       "input \"tokens\": got int32 [1, 5]; expected dtype int64 (bundle translate.attn). Convert it before the call."},
      {{{"tokens", {ATTN_INT64, {5}}}, {"mask", right}},
       "input \"tokens\": got int64 [5]; expected rank 2: tokens: int64[batch=1..32, T=1..256] (bundle translate.attn)."},
      {{{"tokens", {ATTN_INT64, {1, 5}}}, {"mask", {ATTN_BOOL, {2, 5}}}},
       "input \"mask\": got bool [2, 5]; dim batch is 2 here and 1 in input \"tokens\" (bundle translate.attn)."},
      {{{"tokens", {ATTN_INT64, {1, 5}}}, {"masc", right}},
       "missing input mask; unknown input masc; expected tokens, mask (bundle translate.attn)"},
      {{{"tokens", {ATTN_INT64, {1, 5}}}}, "missing input mask; expected tokens, mask (bundle translate.attn)"},
      {{{"tokens", {ATTN_INT64, {1, 5}}}, {"mask", right}, {"x", right}}, "unknown input x; expected tokens, mask (bundle translate.attn)"},
  };
  for (const auto& [given, message] : cases) {
    EXPECT_EQ(raised([&, &given = given] { check_shapes({tokens, mask}, given, "bundle translate.attn"); }, ATTN_ERROR_INPUT), message);
  }
  EXPECT_EQ(raised([&] { check_shapes({image}, {{"image", {ATTN_FLOAT32, {1, 4}}}}, "a"); }, ATTN_ERROR_INPUT),
            "input \"image\": got float32 [1, 4]; axis 1 is fixed at 3: image: float32[batch=1..32, 3] (a).");
  for (const int64_t ends : {1, 32}) check_shapes({image}, {{"image", {ATTN_FLOAT32, {ends, 3}}}}, "a");
}

TEST(Spec, SizesThatNoMachineHasAreInputErrors) {
  EXPECT_EQ(bytes_of(ATTN_FLOAT32, {2, 3}), 24u);
  EXPECT_EQ(elements({}), 1u);
  EXPECT_EQ(elements({INT64_MAX, INT64_MAX, 0}), 0u);
  EXPECT_NE(raised([] { elements({int64_t{1} << 32, int64_t{1} << 32}); }, ATTN_ERROR_INPUT), "");
  EXPECT_NE(raised([] { elements({-1}); }, ATTN_ERROR_INPUT), "");
  EXPECT_NE(raised([] { bytes_of(ATTN_FLOAT64, {INT64_MAX / 8 + 1}); }, ATTN_ERROR_INPUT), "");
  EXPECT_EQ(image.shape({{"batch", 1}, {"other", 9}}), (Shape{1, 3}));
  EXPECT_EQ(tokens.shape({{"T", 5}}), (Shape{8, 5}));
  EXPECT_EQ((Dim{"batch", 4, 4, 4}.text()), "batch=4");
}

TEST(Spec, DtypesHaveNamesAndSizes) {
  for (int dtype = ATTN_FLOAT16; dtype <= ATTN_BOOL; ++dtype) {
    const auto as = static_cast<attn_dtype>(dtype);
    EXPECT_EQ(dtype_of(attn_dtype_name(as)), as);
    EXPECT_GT(attn_dtype_bytes(as), 0u);
  }
  EXPECT_EQ(attn_dtype_name(static_cast<attn_dtype>(0)), nullptr);
  EXPECT_EQ(attn_dtype_bytes(static_cast<attn_dtype>(15)), 0u);
  EXPECT_EQ(dtype_of("bfloat16"), std::nullopt);
}

TEST(Tensor, BuffersAreZeroedAndAligned) {
  for (const size_t bytes : {0, 1, 64, 1000}) {
    {  // so that the next one gets memory that was used
      std::vector<Buffer> used(100);
      for (Buffer& one : used) {
        one = Buffer(bytes);
        for (size_t i = 0; i < bytes; ++i) static_cast<volatile char*>(one.data())[i] = 1;
      }
    }
    const Buffer buffer(bytes);
    ASSERT_NE(buffer.data(), nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 64, 0u);
    EXPECT_EQ(buffer.bytes(), bytes);
    for (size_t i = 0; i < bytes; ++i) ASSERT_EQ(static_cast<char*>(buffer.data())[i], 0);
  }
  EXPECT_THROW(Buffer(SIZE_MAX), std::bad_alloc);
}

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

TEST_F(BundleTest, ThroughTheCInterface) {
  const std::string path = make_bundle(scratch).string();
  attn_bundle* bundle = nullptr;
  ASSERT_EQ(attn_bundle_open(path.c_str(), &bundle), ATTN_OK) << attn_last_error();
  EXPECT_STREQ(attn_last_error(), "");
  EXPECT_STREQ(attn_bundle_name(bundle), "small");
  ASSERT_EQ(attn_bundle_graph_count(bundle), 1u);
  EXPECT_STREQ(attn_bundle_graph_name(bundle, 0), "model");
  EXPECT_EQ(attn_bundle_graph_name(bundle, 1), nullptr);
  EXPECT_EQ(parse_json(attn_bundle_manifest(bundle), "")["name"], "small");
  const char *json = "untouched", *again = nullptr;
  EXPECT_EQ(attn_bundle_asset(bundle, "nothing", &json), ATTN_OK);
  EXPECT_EQ(json, nullptr);
  EXPECT_EQ(attn_bundle_asset(bundle, "other", &json), ATTN_OK);
  EXPECT_EQ(attn_bundle_asset(bundle, "other", &again), ATTN_OK);
  EXPECT_STREQ(json, "{\"any\": 1}");
  EXPECT_EQ(json, again);
  const char* const* labels = nullptr;
  size_t count = 0;
  EXPECT_EQ(attn_bundle_labels(bundle, &labels, &count), ATTN_OK);
  ASSERT_EQ(count, 2u);
  EXPECT_STREQ(labels[1], "d\xc3\xb6g");
  attn_bundle_close(bundle);

  const std::string unlabelled = make_bundle(scratch, "b.attn", [](Json& manifest) { manifest["assets"].erase("labels"); }).string();
  ASSERT_EQ(attn_bundle_open(unlabelled.c_str(), &bundle), ATTN_OK) << attn_last_error();
  EXPECT_EQ(attn_bundle_labels(bundle, &labels, &count), ATTN_OK);
  EXPECT_EQ(count, 0u);
  attn_bundle_close(bundle);
  attn_bundle_close(nullptr);
}

TEST_F(BundleTest, MistakesAreUsageErrorsAndWriteNothing) {
  attn_bundle* bundle = nullptr;
  EXPECT_EQ(attn_bundle_open(nullptr, &bundle), ATTN_ERROR_USAGE);
  EXPECT_STREQ(attn_last_error(), "parameter path is NULL; expected a valid pointer");
  EXPECT_EQ(attn_bundle_open("a", nullptr), ATTN_ERROR_USAGE);
  EXPECT_EQ(attn_bundle_open((scratch.path() / "a.attn").c_str(), &bundle), ATTN_ERROR_BUNDLE);
  EXPECT_EQ(bundle, nullptr);
  EXPECT_STRNE(attn_last_error(), "");
  std::thread([] { EXPECT_STREQ(attn_last_error(), ""); }).join();  // each thread has its own
  const char* json = nullptr;
  EXPECT_EQ(attn_bundle_asset(nullptr, "a", &json), ATTN_ERROR_USAGE);
  EXPECT_EQ(attn_bundle_labels(nullptr, nullptr, nullptr), ATTN_ERROR_USAGE);
  EXPECT_EQ(attn_bundle_name(nullptr), nullptr);
  EXPECT_EQ(attn_bundle_manifest(nullptr), nullptr);
  EXPECT_EQ(attn_bundle_graph_name(nullptr, 0), nullptr);
}

TEST_F(BundleTest, IsReadByManyThreads) {
  attn_bundle* bundle = nullptr;
  ASSERT_EQ(attn_bundle_open(make_bundle(scratch).c_str(), &bundle), ATTN_OK) << attn_last_error();
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([bundle] {
      for (int times = 0; times < 20; ++times) {
        const char* json = nullptr;
        const char* const* labels = nullptr;
        size_t count = 0;
        EXPECT_EQ(attn_bundle_asset(bundle, times % 2 ? "other" : "labels", &json), ATTN_OK);
        EXPECT_EQ(attn_bundle_labels(bundle, &labels, &count), ATTN_OK);
        EXPECT_STREQ(labels[0], "cat");
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  attn_bundle_close(bundle);
}

TEST(Errors, NoExceptionLeaves) {
  EXPECT_EQ(guarded([] { throw parity_error("far", "table\nof lines"); }), ATTN_ERROR_PARITY);
  EXPECT_STREQ(attn_last_error(), "far");
  EXPECT_STREQ(attn_last_error_details(), "table\nof lines");
  EXPECT_EQ(guarded([] { throw std::bad_alloc(); }), ATTN_ERROR_INTERNAL);
  EXPECT_STREQ(attn_last_error(), "out of memory; close other programs, or use smaller sizes");
  EXPECT_EQ(guarded([] { throw std::out_of_range("at"); }), ATTN_ERROR_INTERNAL);
  EXPECT_STREQ(attn_last_error(), "internal error: at; this is a bug, please report it");
  EXPECT_EQ(guarded([] { throw 1; }), ATTN_ERROR_INTERNAL);
  EXPECT_EQ(guarded([] {}), ATTN_OK);
  EXPECT_STREQ(attn_last_error(), "");
  EXPECT_STREQ(attn_last_error_details(), "");
  EXPECT_EQ(attn_abi_version(), ATTN_ABI_VERSION);
  EXPECT_NE(std::string(attn_version()).find("."), std::string::npos);
}

}  // namespace
}  // namespace attn
