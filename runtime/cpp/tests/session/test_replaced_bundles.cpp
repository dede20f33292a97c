// A bundle that is exported again and again under sessions and generators: each of them answers as one export does, or refuses in one line.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdio.h>

#include <atomic>
#include <cstring>
#include <map>
#include <thread>

#include "generate/generator.h"
#include "session/session.h"
#include "support/bundles.h"
#include "support/scratch.h"
#include "verify/verify.h"

namespace attn {
namespace {

namespace fs = std::filesystem;

constexpr int replacements = 60;

class ReplacedBundles : public testing::Test {
 protected:
  void SetUp() override {
    ATTN_NEEDS_BUNDLES();
    options.device = "cpu", options.threads = 1;
  }

  fs::path copy(const std::string& name) {
    const fs::path made = scratch.path() / fs::path(name).filename();
    fs::remove_all(made);
    fs::copy(attn_test::bundles_folder() / name, made, fs::copy_options::recursive);
    return made;
  }

  // As a re-export does it: a new folder, in one step.
  void exchange(const fs::path& bundle, const fs::path& by) const {
    const fs::path fresh = scratch.path() / "fresh";
    fs::copy(by, fresh, fs::copy_options::recursive);
    ASSERT_EQ(::renameat2(AT_FDCWD, fresh.c_str(), AT_FDCWD, bundle.c_str(), RENAME_EXCHANGE), 0);
    fs::remove_all(fresh);
  }

  // How often `look` found what, while a writer puts one and the other in the place of the bundle; "" where it was refused.
  std::map<std::string, int> seen(const std::string& name, const std::function<std::string(const fs::path&)>& look) {
    const fs::path bundle = copy(name), both[] = {attn_test::bundles_folder() / "next" / name, attn_test::bundles_folder() / name};
    std::atomic<bool> done{false};
    std::thread writer([&] {
      for (int count = 0; count < replacements; ++count) exchange(bundle, both[count % 2]);
      done = true;
    });
    std::map<std::string, int> found;
    for (bool last = false; !last;) {
      last = done;
      std::string answer;
      const std::string refusal = raised([&] { answer = look(bundle); });
      EXPECT_TRUE(refusal.empty() || refusal.find(": was replaced since it was opened; open it again") != refusal.npos ||
                  refusal.find("replaced over and over") != refusal.npos)
          << refusal;
      ++found[refusal.empty() ? answer : ""];
    }
    writer.join();
    return found;
  }

  std::vector<float> answer(const Session& session) {
    std::vector<float> x(32);
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 5);
    const Tensors got = session.run({{"x", View{ATTN_FLOAT32, {2, 16}, x.data()}}});
    const auto* y = got.at("y").view().as<float>();
    return {y, y + 20};
  }

  std::vector<std::vector<int64_t>> written(Generator& generator) {
    int64_t source[] = {3, 4, 5};
    bool mask[] = {true, true, true};
    return generator
        .generate({{"source", View{ATTN_INT64, {1, 3}, source}}, {"source_mask", View{ATTN_BOOL, {1, 3}, mask}}}, GenerateOptions{})
        .tokens;
  }

  OpenOptions options;
  Scratch scratch;
};

TEST_F(ReplacedBundles, ASessionIsOfOneExport) {
  const std::vector<float> y = answer(*Session::open(Bundle::open(attn_test::bundles_folder() / "gemm.attn"), options));
  const auto found = seen("gemm.attn", [&](const fs::path& path) {
    const auto bundle = Bundle::open(path);
    const auto session = Session::open(bundle, options);
    const bool next = bundle->asset("labels")->at(0).get<std::string>().rfind("next", 0) == 0;
    const std::vector<float> got = answer(*session);
    for (size_t i = 0; i < y.size(); ++i) EXPECT_FLOAT_EQ(got[i], next ? 2 * y[i] : y[i]);
    return next ? "next" : "before";
  });
  EXPECT_TRUE(found.count("next") || found.count("before"));
}

TEST_F(ReplacedBundles, AGeneratorsGraphsAreOfOneExport) {
  const auto opened = [&](const fs::path& path) { return Generator::open(Bundle::open(path), options); };
  const auto before = written(*opened(attn_test::bundles_folder() / "tiny.attn"));
  const auto next = written(*opened(attn_test::bundles_folder() / "next/tiny.attn"));
  ASSERT_NE(before, next);
  const auto found = seen("tiny.attn", [&](const fs::path& path) {
    const auto got = written(*opened(path));
    EXPECT_TRUE(got == before || got == next);
    return got == before ? "before" : "next";
  });
  EXPECT_TRUE(found.count("next") || found.count("before"));
}

TEST_F(ReplacedBundles, OneThatIsOpenIsNotOpenedAsAnother) {
  const fs::path path = copy("gemm.attn");
  const auto bundle = Bundle::open(path);
  const auto session = Session::open(bundle, options);
  const std::vector<float> y = answer(*session);
  exchange(path, attn_test::bundles_folder() / "next/gemm.attn");
  const std::string replaced = "bundle gemm.attn: was replaced since it was opened; open it again";
  EXPECT_EQ(raised([&] { Session::open(bundle, options); }), replaced);
  EXPECT_EQ(answer(*session), y);
  fs::remove_all(path);
  EXPECT_EQ(raised([&] { verify(bundle, options, {}); }), replaced);
}

}  // namespace
}  // namespace attn
