// Hashes.
#include <gtest/gtest.h>

#include <random>

#include "format/sha256_steps.h"
#include "support/scratch.h"

namespace attn {
namespace {

TEST(Sha256, IsTheStandards) {
  EXPECT_EQ(sha256_text(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_text("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_text("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256_text(std::string(1'000'000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, IsTheSameInAnyPieces) {
  std::string data;
  std::mt19937 random(1);
  for (int i = 0; i < 1000; ++i) data += static_cast<char>(random());
  for (size_t length = 0; length < data.size(); ++length) {
    const std::string whole = data.substr(0, length);
    Sha256 digest;
    for (size_t at = 0; at < length;) {
      const size_t part = std::min<size_t>(length - at, random() % 200);
      digest.update(whole.data() + at, part);
      at += part;
    }
    ASSERT_EQ(digest.hexadecimal(), sha256_text(whole)) << length;
  }
}

TEST(Sha256, ProcessorAndPortableAgree) {
  if (sha256_fastest() == sha256_portable) GTEST_SKIP() << "this processor has no instructions for SHA-256";
  std::vector<uint8_t> data(64 * 50);
  std::mt19937 random(2);
  for (uint8_t& byte : data) byte = static_cast<uint8_t>(random());
  uint32_t one[8] = {1, 2, 3, 4, 5, 6, 7, 0xffffffff}, other[8];
  for (size_t blocks = 0; blocks <= 50; blocks += blocks < 4 ? 1 : 46) {
    std::copy(one, one + 8, other);
    sha256_portable(one, data.data(), blocks);
    sha256_fastest()(other, data.data(), blocks);
    EXPECT_TRUE(std::equal(one, one + 8, other)) << blocks;
  }
}

}  // namespace
}  // namespace attn
