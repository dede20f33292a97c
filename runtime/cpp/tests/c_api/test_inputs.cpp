// The C interface of inputs: what is made by a bundle's assets.
#include <attn/runtime.h>
#include <gtest/gtest.h>

#include <limits>

#include "support/bundles.h"

namespace attn {
namespace {

using attn_test::bundles_folder;

// What is asked of a bundle's assets is written when all is well, and otherwise not at all, but for a shape that lacks room.
class CInputs : public testing::Test {
 protected:
  void SetUp() override { ATTN_NEEDS_BUNDLES(); }
  void TearDown() override { attn_bundle_close(bundle); }
  void open(const char* name) {
    ASSERT_EQ(attn_bundle_open((bundles_folder() / name).c_str(), &bundle), ATTN_OK) << attn_last_error();
  }

  attn_bundle* bundle = nullptr;
  alignas(8) unsigned char room[4096] = {}, more[64] = {};
  attn_tensor tensor{nullptr, static_cast<attn_dtype>(0), room, sizeof room, 0, {}};
};

TEST_F(CInputs, PicturesAreWrittenWhole) {
  open("pictures.attn");
  EXPECT_EQ(attn_bundle_image(bundle, nullptr, 2, 2, 1, &tensor), ATTN_ERROR_USAGE);
  EXPECT_EQ(tensor.rank, 0u);
  const uint8_t pixels[4] = {};
  tensor.data = room + 1;
  EXPECT_EQ(attn_bundle_image(bundle, pixels, 2, 2, 1, &tensor), ATTN_ERROR_INPUT);
  EXPECT_NE(std::string(attn_last_error()).find("not aligned to the 4 bytes"), std::string::npos) << attn_last_error();
  tensor.data = room;
  EXPECT_EQ(attn_bundle_image(bundle, pixels, 2, 2, 1, &tensor), ATTN_OK) << attn_last_error();
  EXPECT_STREQ(tensor.name, "image");
  EXPECT_EQ(tensor.bytes, sizeof room);
}

TEST_F(CInputs, RecordingsAreWrittenWhole) {
  open("recordings.attn");
  const float samples[2] = {0, std::numeric_limits<float>::infinity()};
  EXPECT_EQ(attn_bundle_audio(bundle, samples, 2, 1, 16000, &tensor), ATTN_ERROR_INPUT);
  EXPECT_EQ(tensor.rank, 0u);
  tensor.data = room + 2;
  EXPECT_EQ(attn_bundle_audio(bundle, samples, 1, 1, 16000, &tensor), ATTN_ERROR_INPUT);
  EXPECT_NE(std::string(attn_last_error()).find("not aligned to the 4 bytes"), std::string::npos) << attn_last_error();
}

TEST_F(CInputs, TextsAreWrittenWhole) {
  open("speaker.attn");
  const char* texts[] = {"a cat"};
  attn_tensor mask{nullptr, static_cast<attn_dtype>(0), more, 1, 0, {}};
  EXPECT_EQ(attn_bundle_text(bundle, texts, 1, &tensor, &mask), ATTN_ERROR_INPUT);
  EXPECT_EQ(tensor.name, nullptr);
  EXPECT_EQ(room[0], 0);
  mask.bytes = sizeof more, tensor.bytes = 1;
  EXPECT_EQ(attn_bundle_text(bundle, texts, 1, &tensor, &mask), ATTN_ERROR_INPUT);
  EXPECT_EQ(mask.shape[1], 2);  // the shapes of both
  tensor.bytes = sizeof room;
  EXPECT_EQ(attn_bundle_text(bundle, texts, 1, &tensor, &mask), ATTN_OK) << attn_last_error();
  EXPECT_NE(room[0], 0);
  EXPECT_STREQ(mask.name, "source_mask");
}

}  // namespace
}  // namespace attn
