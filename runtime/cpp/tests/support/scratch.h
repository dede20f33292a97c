// Files and small bundles that tests make for themselves.
#pragma once

#include <attn/runtime.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "format/json.h"
#include "format/sha256.h"
#include "util/error.h"

namespace attn {

// A folder that is gone at the end of the test.
class Scratch {
 public:
  Scratch() {
    std::string made = (std::filesystem::temp_directory_path() / "attn-test-XXXXXX").string();
    if (!::mkdtemp(made.data())) throw std::runtime_error("no temporary folder");
    path_ = std::filesystem::canonical(made);
  }
  ~Scratch() { std::filesystem::remove_all(path_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path write(const std::string& name, const std::string& data) const {
    const auto file = path_ / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary).write(data.data(), static_cast<std::streamsize>(data.size()));
    return file;
  }

 private:
  std::filesystem::path path_;
};

// What `call` raises, and "" where it raises nothing. Its status must be `status`.
template <typename Call>
std::string raised(Call call, attn_status status = ATTN_ERROR_BUNDLE) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.status, status) << error.what();
    return error.what();
  }
  return "";
}

inline std::string sha256_text(const std::string& data) {
  Sha256 digest;
  digest.update(data.data(), data.size());
  return digest.hexadecimal();
}

// One field of a protobuf message: a length-delimited one of up to 16383 bytes.
inline std::string field(unsigned number, const std::string& data) {
  std::string out;
  for (size_t value : {static_cast<size_t>(number << 3 | 2), data.size()}) {
    for (; value > 127; value >>= 7) out += static_cast<char>((value & 127) | 128);
    out += static_cast<char>(value);
  }
  return out + data;
}

// An ONNX file whose one weight lies in another file.
inline std::string onnx_with_data_in(const std::string& location) {
  const std::string entry = field(1, "location") + field(2, location);
  return field(7, field(5, field(13, entry)));
}

// A safetensors file by hand.
inline std::string safetensors(const std::string& header, const std::string& data = "") {
  std::string out;
  for (int i = 0; i < 8; ++i) out += static_cast<char>(header.size() >> (8 * i) & 255);
  return out + header + data;
}

// A bundle of one graph, x float32[batch=1..4, 3] -> y, with one golden case, weights in a file of their own, and labels. `change` edits the
// manifest before it is written.
inline std::filesystem::path make_bundle(const Scratch& scratch, const std::string& name = "small.attn",
                                         const std::function<void(Json&)>& change = {}) {
  const Json dims = {{{"name", "batch"}, {"min", 1}, {"opt", 2}, {"max", 4}}, {{"name", nullptr}, {"min", 3}, {"opt", 3}, {"max", 3}}};
  const auto tensor = [&](const char* of) { return Json{{"name", of}, {"dtype", "float32"}, {"dims", dims}}; };
  const std::string values(12, '\0');
  const auto values_of = [&](const std::string& of) {
    return safetensors("{\"" + of + "\":{\"dtype\":\"F32\",\"shape\":[1,3],\"data_offsets\":[0,12]}}", values);
  };
  const std::vector<std::pair<std::string, std::string>> contents{
      {"model.onnx", onnx_with_data_in("model.onnx.data")}, {"model.onnx.data", "weights"},
      {"golden/min.inputs.safetensors", values_of("x")},     {"golden/min.outputs.safetensors", values_of("y")},
      {"assets/labels.json", "[\"cat\", \"d\\u00f6g\"]"},    {"assets/other.json", "{\"any\": 1}"}};
  Json files = Json::object();
  for (const auto& [file, data] : contents) {
    scratch.write(name + "/" + file, data);
    files[file] = {{"sha256", sha256_text(data)}, {"size", data.size()}};
  }
  const Json golden = {{"case", "min"},
                       {"sizes", {{"batch", 1}}},
                       {"checked_sizes", {{"batch", 4}}},
                       {"seed", 0},
                       {"inputs", "golden/min.inputs.safetensors"},
                       {"outputs", "golden/min.outputs.safetensors"}};
  const Json precision = {{"file", "model.onnx"}, {"data", {"model.onnx.data"}}, {"tolerance", {{"atol", 1e-6}, {"rtol", 2e-5}}}};
  const Json graph = {{"inputs", Json::array({tensor("x")})},
                      {"outputs", Json::array({tensor("y")})},
                      {"opset", 17},
                      {"exporter", "dynamo"},
                      {"precisions", {{"other", precision}, {"fp32", precision}}},
                      {"cures", Json::array()},
                      {"stages", Json::array()},
                      {"consistency", Json::array()},
                      {"golden", Json::array({golden})}};
  Json manifest = {{"schema_version", 1},
                   {"name", "small"},
                   {"task", nullptr},
                   {"created", "2026-01-31T12:00:00Z"},
                   {"source", {{"kind", "module"}, {"ref", "a:b"}, {"checkpoint", nullptr}, {"config", Json::object()}}},
                   {"versions", Json::object()},
                   {"graphs", {{"model", graph}}},
                   {"assets", {{"labels", "assets/labels.json"}, {"other", "assets/other.json"}}},
                   {"files", files}};
  if (change) change(manifest);
  scratch.write(name + "/manifest.json", manifest.dump());
  return scratch.path() / name;
}

}  // namespace attn
