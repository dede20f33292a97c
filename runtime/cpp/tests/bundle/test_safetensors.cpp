// safetensors files.
#include <gtest/gtest.h>

#include "bundle/safetensors.h"
#include "support/scratch.h"

namespace attn {
namespace {

namespace fs = std::filesystem;

class Tensorfile : public testing::Test {
 protected:
  std::string refusal(const std::string& data) {
    const fs::path file = scratch.write("t.safetensors", data);
    return raised([&] { read_tensors(file, specs, {{"batch", 1}}, "w"); });
  }
  static std::string y(const std::string& shape, const std::string& offsets, const std::string& dtype = "F32") {
    return "\"y\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
  }
  Scratch scratch;
  std::vector<TensorSpec> specs{{"y", ATTN_FLOAT32, {{"batch", 1, 2, 4}, {std::nullopt, 2, 2, 2}}, "", "", {}, {}}};
};

TEST_F(Tensorfile, IsRead) {
  const float values[] = {1.5f, -2.0f};
  const std::string data(reinterpret_cast<const char*>(values), sizeof values);
  const std::string header = "{\"__metadata__\":{\"a\":\"b\"}," + y("[1,2]", "[0,8]") + "}   ";
  const fs::path file = scratch.write("t.safetensors", safetensors(header, data));
  const Tensors tensors = read_tensors(file, specs, {}, "w");
  EXPECT_EQ(tensors.at("y").shape, (Shape{1, 2}));
  EXPECT_EQ(tensors.at("y").view().as<float>()[1], -2.0f);
  EXPECT_EQ(read_safetensors(file, "w").size(), 1u);
}

TEST_F(Tensorfile, NoneAndScalarsAreTensors) {
  const fs::path file = scratch.write("t.safetensors", safetensors("{" + y("[0,3]", "[0,0]") + ",\"s\":{\"dtype\":\"I64\",\"shape\":[],"
                                                                   "\"data_offsets\":[0,8]}}", std::string("\7\0\0\0\0\0\0\0", 8)));
  const Tensors tensors = read_safetensors(file, "w");
  EXPECT_NE(tensors.at("y").buffer.data(), nullptr);
  EXPECT_EQ(*tensors.at("s").view().as<int64_t>(), 7);
}

TEST_F(Tensorfile, ABoolIsZeroOrOne) {
  const std::string header = "{" + y("[4]", "[0,4]", "BOOL") + "}";
  const fs::path good = scratch.write("t.safetensors", safetensors(header, std::string("\0\1\1\0", 4)));
  EXPECT_EQ(read_safetensors(good, "w").at("y").shape, (Shape{4}));
  const fs::path file = scratch.write("t.safetensors", safetensors(header, std::string("\0\1\2\0", 4)));
  EXPECT_EQ(raised([&] { read_safetensors(file, "w"); }),
            "w: t.safetensors: tensor \"y\" is bool and holds a byte 2, expected 0 and 1 alone; re-export the bundle");
}

TEST_F(Tensorfile, WhatItClaimsIsHeldAgainstItsSize) {
  const std::string eight(8, '\0');
  const std::string none = "w: t.safetensors is no safetensors file: ";
  const std::string many = std::to_string(int64_t{1} << 40);
  for (const std::string& data : {
           std::string(), std::string(7, '\0'), safetensors(""), safetensors("[1, 2]"), safetensors("{\"y\":1}"), safetensors("{} {}"),
           safetensors("{" + y("[1,2]", "[0,8]") + "}"),                               // no data
           safetensors("{" + y("[1,2]", "[0,8]") + "}", eight + "x"),                  // more than it needs
           safetensors("{" + y("[1,2]", "[8,0]") + "}", eight),                        // backwards
           safetensors("{" + y("[1,2]", "[-8,0]") + "}", eight),
           safetensors("{" + y("[1,2]", "[0,7]") + "}", eight),
           safetensors("{" + y("[1,3]", "[0,8]") + "}", eight),
           safetensors("{" + y("[-1,-2]", "[0,8]") + "}", eight),
           safetensors("{" + y("[1.5]", "[0,8]") + "}", eight),
           safetensors("{" + y("[" + many + "," + many + "]", "[0,8]") + "}", eight),  // wraps to 0 elements in 64 bits
           safetensors("{" + y("[2]", "[0,8]", "X") + "}", eight),
           safetensors("{" + y("[2]", "[0]") + "}", eight),
           safetensors("{" + y("{}", "[0,8]") + "}", eight),
           safetensors("{" + y("[2]", "[0,8]") + "," + y("[2]", "[0,8]") + "}", eight),  // one key twice
           safetensors("{" + y("[2]", "[0,8]") + ",\"z\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", eight),  // shared
           safetensors("{" + y("[1]", "[4,8]") + "}", eight),                           // bytes of nobody in front
           safetensors("{}", "x"), safetensors("{\"__metadata__\":1}"), safetensors(std::string(100'000, '[')),
       }) {
    const std::string message = refusal(data);
    EXPECT_EQ(message.find(none), 0u) << data.substr(0, 100) << ": " << message;
    EXPECT_LT(message.size(), 400u);
  }
  const auto why = [&](const std::string& entry, const std::string& data) {
    return refusal(safetensors("{" + entry + "}", data)).substr(none.size());
  };
  EXPECT_EQ(why(y("[1,2]", "[8,0]"), eight), "tensor \"y\" lies at [8,0] of 8 bytes; re-export the bundle");
  EXPECT_EQ(why(y("[1,2]", "[0,16]"), eight), "tensor \"y\" lies at [0,16] of 8 bytes; re-export the bundle");
  EXPECT_EQ(why(y("[" + many + "," + many + "]", "[0,0]"), ""),
            "tensor \"y\" has more elements than a file can hold; re-export the bundle");
  const std::string header = std::string("\xff\xff\xff\xff\xff\xff\xff\x7f", 8);
  EXPECT_EQ(refusal(header), "w: t.safetensors claims a header of 9223372036854775807 bytes in a file of 8, at most 4194304 are accepted; "
                             "re-export the bundle");
}

TEST_F(Tensorfile, IsHeldAgainstTheGraph) {
  const std::string advice = "; re-export the bundle";
  EXPECT_EQ(refusal(safetensors("{}")), "w: t.safetensors lacks [\"y\"], the graph has [\"y\"]" + advice);
  const std::string z = ",\"z\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[8,8]}}";
  EXPECT_EQ(refusal(safetensors("{" + y("[1,2]", "[0,8]") + z, std::string(8, '\0'))),
            "w: t.safetensors has unknown [\"z\"], the graph has [\"y\"]" + advice);
  EXPECT_EQ(refusal(safetensors("{" + y("[2,2]", "[0,16]") + "}", std::string(16, '\0'))),
            "w: t.safetensors: tensor \"y\" is float32 [2, 2], expected float32 [1, 2]" + advice);
  EXPECT_EQ(refusal(safetensors("{" + y("[1,2]", "[0,4]", "BF16") + "}", std::string(4, '\0'))),
            "w: t.safetensors: tensor \"y\" is BF16 [1, 2], expected float32 [1, 2]" + advice);
  const fs::path file = scratch.write("t.safetensors", safetensors("{" + y("[5,2]", "[0,40]") + "}", std::string(40, '\0')));
  EXPECT_EQ(raised([&] { read_tensors(file, specs, {}, "w"); }),
            "w: t.safetensors: tensor \"y\" is float32 [5, 2], expected float32 [1..4, 2]" + advice);
}

}  // namespace
}  // namespace attn
