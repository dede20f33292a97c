// The C interface of bundles, and how errors leave it.
#include <gtest/gtest.h>

#include <cstdio>
#include <stdexcept>
#include <thread>

#include "c_api/errors.h"
#include "support/scratch.h"

namespace attn {
namespace {

class CBundles : public testing::Test {
 protected:
  Scratch scratch;
};

TEST_F(CBundles, ThroughTheCInterface) {
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

TEST_F(CBundles, MistakesAreUsageErrorsAndWriteNothing) {
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

TEST_F(CBundles, IsReadByManyThreads) {
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
