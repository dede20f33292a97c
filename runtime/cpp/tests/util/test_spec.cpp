// What a tensor may look like, and memory for one.
#include <gtest/gtest.h>

#include <climits>

#include "support/scratch.h"
#include "util/tensor.h"

namespace attn {
namespace {

const Dim batch{"batch", 1, 8, 32}, length{"T", 1, 128, 256}, three{std::nullopt, 3, 3, 3};
const TensorSpec tokens{"tokens", ATTN_INT64, {batch, length}, "", "", {}, {}}, mask{"mask", ATTN_BOOL, {batch, length}, "", "", {}, {}},
    image{"image", ATTN_FLOAT32, {batch, three}, "", "", {}, {}};

TEST(Spec, WrongInputsAreToldInTheHouseForm) {
  const Signature right{ATTN_BOOL, {1, 5}};
  const std::pair<std::map<std::string, Signature>, std::string> cases[] = {
      {{{"tokens", {ATTN_INT64, {1, 300}}}, {"mask", right}},
       "input \"tokens\": got int64 [1, 300]; dim T allows 1..256 (bundle translate.attn). Re-export with --dim T=1:128:300."},
      {{{"tokens", {ATTN_INT64, {1, 0}}}, {"mask", right}},
       "input \"tokens\": got int64 [1, 0]; dim T allows 1..256 (bundle translate.attn). Give T a size of these."},
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
  const std::string told =
      raised([&] { check_shapes({mask}, {{"mask", right}, {std::string(5000, 'x'), right}}, "a"); }, ATTN_ERROR_INPUT);
  EXPECT_NE(told.find("unknown input \"xxx"), std::string::npos);
  EXPECT_LT(told.size(), 300u);
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

}  // namespace
}  // namespace attn
