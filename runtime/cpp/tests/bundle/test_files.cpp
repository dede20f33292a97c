// Hashes, links, ONNX files and safetensors files.
#include <gtest/gtest.h>

#include <sys/stat.h>

#include <random>

#include "bundle/bundle.h"
#include "bundle/external_data.h"
#include "bundle/safetensors.h"
#include "format/protobuf.h"
#include "support/scratch.h"
#include "util/files.h"
#include "util/names.h"

namespace attn {
namespace {

namespace fs = std::filesystem;

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

TEST(Files, LinksAreFollowedAndHeldInside) {
  const Scratch scratch;
  scratch.write("a.attn/in/file", "x");
  scratch.write("secret", "x");
  const fs::path root = scratch.path() / "a.attn";
  const auto link = [&](const char* name, const fs::path& to) { fs::create_symlink(to, root / name); };
  link("fine", "in/file");
  link("absolute", root / "in" / "file");
  link("up", "../secret");
  link("nowhere", scratch.path() / "not there");
  link("folder", "..");
  link("loop", "loop");
  link("sibling", "../a.attn.other");
  EXPECT_EQ(inside(root, "fine", "w"), root / "in/file");
  EXPECT_EQ(inside(root, "absolute", "w"), root / "in/file");
  EXPECT_EQ(inside(root, "in/missing", "w"), root / "in/missing");
  for (const char* name : {"up", "nowhere", "folder", "folder/secret", "sibling"}) {
    const std::string message = raised([&] { inside(root, name, "w"); });
    EXPECT_EQ(message.find(std::string("w: ") + name + " is a link out of the bundle, to \""), 0u) << name << message;
  }
  EXPECT_EQ(raised([&] { inside(root, "loop", "w"); }), "w: loop is a loop of links; re-export the bundle");
}

TEST(Files, TextIsBounded) {
  const Scratch scratch;
  const fs::path file = scratch.write("a.json", "12345");
  EXPECT_EQ(read_text(file, "w", 5), "12345");
  EXPECT_EQ(raised([&] { read_text(file, "w", 4); }), "w: a.json is larger than 4 bytes, the most a reader accepts; re-export the bundle");
  EXPECT_EQ(raised([&] { read_text(scratch.path() / "b.json", "w"); }), "w: b.json is missing; re-export the bundle or restore the file");
  EXPECT_NE(raised([&] { read_text("/dev/zero", "w"); }).find("is not a regular file"), std::string::npos);
  ASSERT_EQ(::mkfifo((scratch.path() / "pipe").c_str(), 0600), 0);
  EXPECT_NE(raised([&] { read_text(scratch.path() / "pipe", "w"); }).find("is not a regular file"), std::string::npos);
}

TEST(Near, IsPythons) {
  EXPECT_EQ(nearest("translat.attn", {"translate.attn", "vit.attn"}), "translate.attn");
  EXPECT_EQ(nearest("xyz", {"translate.attn"}), std::nullopt);
  EXPECT_EQ(nearest("", {"a"}), std::nullopt);
}

class ExternalData : public testing::Test {
 protected:
  std::string refusal(const std::string& data) {
    const fs::path file = scratch.write("m/model.onnx", data);
    return raised([&] { found = check_external_data(file, "w"); });
  }
  std::string keeps(const std::string& location, const std::string& why) {
    return "w: model.onnx keeps a tensor in " + shown(location) + ", " + why;
  }
  Scratch scratch;
  std::vector<fs::path> found;
};

TEST_F(ExternalData, IsFoundWhereverATensorLies) {
  scratch.write("m/data", "");
  const std::string tensor = field(13, field(1, "location") + field(2, "data"));
  const std::string attribute = field(5, tensor), graph = field(5, tensor);
  for (const std::string& model : {
           field(7, field(5, tensor)),                                        // an initializer
           field(7, field(15, field(1, tensor))),                             // a sparse one
           field(7, field(15, field(2, tensor))),                             // and its indices
           field(7, field(1, field(5, attribute))),                           // an attribute of a node
           field(7, field(1, field(5, field(10, tensor)))),                   // a list of tensors
           field(7, field(1, field(5, field(6, graph)))),                     // the body of a loop
           field(7, field(1, field(5, field(11, graph)))),
           field(7, field(1, field(5, field(22, field(1, tensor))))),
           field(7, field(1, field(5, field(23, field(2, tensor))))),
           field(25, field(7, field(5, attribute))),                          // a function
           field(25, field(11, attribute)),
       }) {
    EXPECT_EQ(refusal(model), "");
    EXPECT_EQ(found, std::vector<fs::path>{scratch.path() / "m/data"});
  }
}

TEST_F(ExternalData, LeadsNowhereElse) {
  scratch.write("secret", "");
  const std::string outside = "outside its own folder. Not opened: a model reads no files but its own.";
  const std::string nameless = "which no file can be called. Export it again.";
  for (const std::string& location : {std::string("../secret"), std::string("/etc/passwd"), (scratch.path() / "m/model.onnx").string()}) {
    EXPECT_EQ(refusal(onnx_with_data_in(location)), keeps(location, outside));
  }
  for (const std::string& location : {std::string("a\0b", 3), std::string(5000, 'x')}) {
    EXPECT_EQ(refusal(onnx_with_data_in(location)), keeps(location, nameless));
  }
  for (const char* location : {".", "", "gone"}) {
    EXPECT_EQ(refusal(onnx_with_data_in(location)), keeps(location, "which is not there. Copy it next to model.onnx."));
  }
  fs::create_symlink("../secret", scratch.path() / "m/link");
  EXPECT_EQ(refusal(onnx_with_data_in("link")), keeps("link", outside));
}

TEST_F(ExternalData, BrokenFilesAreTold) {
  EXPECT_EQ(refusal(""), "w: model.onnx is empty.");
  const std::string whole = onnx_with_data_in("model.onnx");
  EXPECT_EQ(refusal(whole), "");
  for (size_t keep = 1; keep < whole.size(); ++keep) {
    EXPECT_NE(refusal(whole.substr(0, keep)).find("is truncated or no ONNX file ("), std::string::npos) << keep;
  }
  EXPECT_NE(refusal(std::string(12, '\xff')).find("a number without end"), std::string::npos);
  EXPECT_NE(refusal("\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
                .find("a field ends 18446744073709551615 bytes past"), std::string::npos);
  EXPECT_NE(refusal("\x3a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02").find("a number without end"), std::string::npos);  // 2**64: not 0
  EXPECT_NE(refusal("\x0b").find("wire type 3"), std::string::npos);
  EXPECT_NE(refusal("\x0d" "abc").find("a number ends past its message"), std::string::npos);
  EXPECT_NE(refusal(onnx_with_data_in("\xff")).find("not UTF-8"), std::string::npos);
  // Graphs in graphs, deeper than any stack.
  std::string deep;
  for (int i = 0; i < 1000; ++i) deep = field(1, field(5, field(6, deep)));
  EXPECT_EQ(refusal(field(7, deep)), "");
}

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
  EXPECT_EQ(why(y("[1,2]", "[8,0]"), eight), "tensor \"y\" lies at [8, 0] of 8 bytes; re-export the bundle");
  EXPECT_EQ(why(y("[1,2]", "[0,16]"), eight), "tensor \"y\" lies at [0, 16] of 8 bytes; re-export the bundle");
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
