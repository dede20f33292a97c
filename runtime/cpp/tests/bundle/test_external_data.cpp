// Which other files an ONNX file makes a runtime read.
#include <gtest/gtest.h>

#include "bundle/external_data.h"
#include "support/scratch.h"

namespace attn {
namespace {

namespace fs = std::filesystem;

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
  EXPECT_EQ(refusal(onnx_with_data_in("link")), keeps("link", outside + " If you trust it: cp -rL " + (scratch.path() / "m").string() + " m-copy, and take the copy."));
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

}  // namespace
}  // namespace attn
