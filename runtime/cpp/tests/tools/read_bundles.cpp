// What the C++ readers say of bundles, manifests and tensor files, one line of JSON each, for tests that hold them against Python's.
//
//   attn_read_bundles bundles PATH...     read all that each offers: open, golden cases, assets
//   attn_read_bundles manifests           standard input: documents, each behind its length as 4 bytes, little end first
//   attn_read_bundles tensors PATH...     safetensors files
//   attn_read_bundles compare             standard input: [{"expected", "got": float32 as bits, "tolerance", "half_io"}, ..] -> differences
//   attn_read_bundles misread PATH...     ONNX files: [node, operator, what OpenVINO does] of each that it would compute otherwise
//   attn_read_bundles patterns            standard input: [[pattern of a schema, text], ..] -> whether each matches, null for an unknown one
#include <cstdio>
#include <iostream>
#include <string>

#include "bundle/manifest.h"
#include "bundle/patterns.h"
#include "bundle/safetensors.h"
#include "c_api/bundle.h"
#include "c_api/errors.h"
#include "openvino/misread.h"
#include "util/unicode.h"
#include "verify/compare.h"

namespace {

void print(const char* stage, int status, const std::string& message) {
  const attn::Json line{{"stage", stage}, {"status", status}, {"message", message}};
  std::cout << line.dump(-1, ' ', true, attn::Json::error_handler_t::replace) << std::endl;
}

template <typename Read>
void tell(const char* stage, Read read) {
  const int status = attn::guarded(read);
  print(status ? stage : "", status, attn_last_error());
}

void read_bundle(const char* path) {
  attn_bundle* bundle = nullptr;
  if (const int status = attn_bundle_open(path, &bundle)) return print("open", status, attn_last_error());
  tell("use", [&] {
    for (const attn::Graph& graph : bundle->bundle->graphs) {
      for (const attn::GoldenCase& golden : graph.golden) {
        bundle->bundle->golden_inputs(graph, golden);
        bundle->bundle->golden_outputs(graph, golden);
      }
    }
    for (const auto& [name, file] : bundle->bundle->manifest.at("assets").items()) bundle->bundle->asset(name);
  });
  attn_bundle_close(bundle);
}

attn::Json matches(const attn::Json& questions) {
  attn::Json answers = attn::Json::array();
  for (const attn::Json& each : questions) {
    const auto check = attn::check_of_pattern(each[0].get<std::string>());
    answers.push_back(check ? attn::Json(check(attn::code_points(each[1].get<std::string>()))) : attn::Json());
  }
  return answers;
}

// One line for each file: an array, or what reading it ended with.
void print_misread(const char* path) {
  const int status = attn::guarded([&] {
    const attn::OnnxGraph graph = attn::read_onnx_graph(path, "bundle a.attn");
    attn::Json told = attn::Json::array();
    for (const attn::Misread& each : attn::misread(graph)) told.push_back({each.node->name, each.node->op_type, each.problem});
    std::cout << told.dump() << std::endl;
  });
  if (status) print("graph", status, attn_last_error());
}

attn::Tensor floats(const attn::Json& bits) {
  attn::Tensor made("y", ATTN_FLOAT32, {static_cast<int64_t>(bits.size())});
  auto* to = static_cast<uint32_t*>(made.buffer.data());
  for (const attn::Json& each : bits) *to++ = each.get<uint32_t>();
  return made;
}

// JSON has neither NaN nor infinity: the text that Python's float() reads.
std::string spelt(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.17g", value);
  return text;
}

attn::Json differences(const attn::Json& questions) {
  attn::Json answers = attn::Json::array();
  for (const attn::Json& each : questions) {
    const attn::Json& limits = each.at("tolerance");
    attn::Tolerance tolerance{limits.at("atol").get<double>(), limits.at("rtol").get<double>()};
    if (limits.contains("fills")) {
      for (const attn::Json& range : limits.at("fills").at("y")) tolerance.fills["y"].emplace_back(range[0], range[1]);
    }
    const attn::Tensor got = floats(each.at("got"));
    const attn::Difference found = attn::compare("y", floats(each.at("expected")), &got, tolerance, each.at("half_io").get<bool>());
    attn::Json worst = attn::Json::array();
    for (const attn::Worst& one : found.worst) worst.push_back({one.index[0], spelt(one.allowed)});
    answers.push_back({{"passed", found.passed},
                       {"problem", found.problem},
                       {"numbers",
                        {spelt(found.max_error), spelt(found.max_reference), spelt(found.limit), spelt(found.max_fill),
                         spelt(found.fill_ratio)}},
                       {"worst", worst}});
  }
  return answers;
}

bool next_document(std::string& document) {
  unsigned char length[4];
  if (!std::cin.read(reinterpret_cast<char*>(length), sizeof length)) return false;
  document.resize(length[0] | length[1] << 8 | length[2] << 16 | static_cast<size_t>(length[3]) << 24);
  return static_cast<bool>(std::cin.read(document.data(), static_cast<std::streamsize>(document.size())));
}

}  // namespace

int main(int count, char** arguments) {
  const std::string what = count > 1 ? arguments[1] : "";
  if (what == "manifests") {
    const std::string where = "bundle a.attn";
    for (std::string document; next_document(document);) {
      tell("manifest", [&] { attn::check_manifest(attn::parse_json(document, where + ": manifest.json"), where); });
    }
    return 0;
  }
  if (what == "compare") {
    std::cout << differences(attn::Json::parse(std::cin)).dump() << std::endl;
    return 0;
  }
  if (what == "patterns") {
    std::cout << matches(attn::Json::parse(std::cin)).dump() << std::endl;
    return 0;
  }
  if (what != "bundles" && what != "tensors" && what != "misread") {
    std::fprintf(stderr, "usage: attn_read_bundles bundles|manifests|tensors|misread|compare|patterns [PATH...]\n");
    return 2;
  }
  for (int i = 2; i < count; ++i) {
    if (what == "bundles") {
      read_bundle(arguments[i]);
    } else if (what == "misread") {
      print_misread(arguments[i]);
    } else {
      tell("tensors", [&] { attn::read_safetensors(arguments[i], "bundle a.attn"); });
    }
  }
  return 0;
}
