#include "verify/generated_cases.h"

#include <algorithm>
#include <limits>
#include <set>

#include "bundle/bundle.h"
#include "generate/graphs/graph_io.h"
#include "util/error.h"

namespace attn {
namespace {

const Dim any_rows = {"rows", 0, 0, 2147483647}, any_length = {"length", 0, 0, 2147483647};

const std::vector<TensorSpec>& answer_specs() {
  static const std::vector<TensorSpec> specs = [] {
    std::vector<TensorSpec> made(3);
    made[0].name = "tokens", made[0].dtype = ATTN_INT64, made[0].dims = {any_rows, any_length};
    made[1].name = "lengths", made[1].dtype = ATTN_INT64, made[1].dims = {any_rows};
    made[2].name = "scores", made[2].dtype = ATTN_FLOAT32, made[2].dims = {any_rows};
    return made;
  }();
  return specs;
}

// A precision whose inputs are as PyTorch's: one without float16 borders; none to take each graph's own first.
std::optional<std::string> reference(const Bundle& bundle) {
  for (const Precision& precision : bundle.graphs.front().precisions) {
    const bool everywhere = std::all_of(bundle.graphs.begin(), bundle.graphs.end(), [&](const Graph& graph) {
      return std::any_of(graph.precisions.begin(), graph.precisions.end(),
                         [&](const Precision& each) { return each.name == precision.name && !each.half_io; });
    });
    if (everywhere) return precision.name;
  }
  return std::nullopt;
}

GeneratedCase read_case(const Bundle& bundle, const GraphIO& graph_io, const Json& entry) {
  const std::string where = bundle.where + ": generated case " + shown(entry.at("case"));
  GeneratedCase made;
  made.name = entry.at("case").get<std::string>();
  const auto read = [&](const char* side, const std::vector<TensorSpec>& specs) {
    return bundle.tensors(bundle.file(entry.at(side).get<std::string>()), specs, {}, where);
  };
  made.inputs = read("inputs", graph_io.inputs);
  Tensors answers = read("outputs", answer_specs());
  std::set<int64_t> rows;
  for (const Tensors* tensors : {&made.inputs, &answers}) {
    for (const auto& [name, tensor] : *tensors) rows.insert(tensor.shape.empty() ? 0 : tensor.shape[0]);
  }
  if (rows.size() != 1) {
    std::string told;
    for (const int64_t count : rows) told += (told.empty() ? "[" : ", ") + std::to_string(count);
    throw bundle_error(where + ": its arrays have " + told + "] rows, expected one number; re-export the bundle");
  }
  made.tokens = std::move(answers.at("tokens"));
  made.lengths = std::move(answers.at("lengths"));
  made.scores = std::move(answers.at("scores"));
  const auto* lengths = made.lengths.view().as<int64_t>();
  const auto [least, most] = std::minmax_element(lengths, lengths + made.rows());
  if (made.rows() && !(*least >= 0 && *most <= made.tokens.shape[1])) {
    throw bundle_error(where + ": lengths of " + std::to_string(*least) + ".." + std::to_string(*most) + ", and tokens has " +
                       std::to_string(made.tokens.shape[1]) + "; re-export the bundle");
  }
  made.beams = entry.at("beams").get<int64_t>();
  made.length_penalty = entry.at("length_penalty").get<double>();
  made.max_length = entry.at("max_length").get<int64_t>();
  made.margin = entry.at("margin").is_null() ? std::numeric_limits<double>::infinity() : entry.at("margin").get<double>();
  made.tolerance = entry.at("tolerance").get<double>();
  return made;
}

}  // namespace

bool has_generated_cases(const Bundle& bundle) {
  const auto found = bundle.manifest.find("generation");
  return found != bundle.manifest.end() && !found->empty();
}

void for_generated_cases(const Bundle& bundle, const std::function<void(const GeneratedCase&)>& each) {
  if (!has_generated_cases(bundle)) return;
  const GraphIO graph_io = GraphIO::of(bundle, reference(bundle));
  for (const Json& entry : bundle.manifest.at("generation")) each(read_case(bundle, graph_io, entry));
}

}  // namespace attn
