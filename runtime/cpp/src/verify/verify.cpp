#include "verify/verify.h"

#include <algorithm>

#include "session/session.h"
#include "util/error.h"
#include "verify/replay.h"

namespace attn {
namespace {

template <typename Convert>
Tensors each(const Tensors& tensors, Convert convert) {
  Tensors made;
  for (const auto& [name, tensor] : tensors) made.emplace(name, convert(name, tensor));
  return made;
}

CaseResult replay_case(const Bundle& bundle, const Session& session, const Graph& graph, const GoldenCase& golden,
                       const Precision& precision) {
  Tensors inputs = bundle.golden_inputs(graph, golden);
  const Tensors expected = bundle.golden_outputs(graph, golden);
  if (precision.half_io) inputs = each(inputs, [](const std::string&, const Tensor& tensor) { return halved(tensor); });
  Tensors got = session.run(views_of(inputs));
  if (precision.half_io) {
    got = each(got, [&](const std::string& name, const Tensor& tensor) { return widened(tensor, expected.at(name).dtype); });
  }
  return {graph.name, golden.name, compare_all(expected, got, precision.tolerance, precision.half_io)};
}

bool has_generation(const Bundle& bundle) {
  const auto found = bundle.manifest.find("generation");
  return found != bundle.manifest.end() && !found->empty();
}

}  // namespace

bool CaseResult::passed() const {
  return std::all_of(differences.begin(), differences.end(), [](const Difference& each) { return each.passed; });
}

void VerifyReport::require() const {
  std::vector<std::pair<std::string, Difference>> failures;
  std::string failed_cases;
  size_t failed = 0;
  for (const CaseResult& result : cases) {
    if (result.passed()) continue;
    ++failed;
    failed_cases += (failed_cases.empty() ? "" : ", ") + result.test_case;
    for (const Difference& difference : result.differences) {
      if (!difference.passed) failures.emplace_back(result.test_case, difference);
    }
  }
  if (failed) {
    throw parity_error("bundle " + bundle + ": " + std::to_string(failed) + " of " + std::to_string(cases.size()) +
                           " golden cases do not match on " + backend + " (" + device + "): " + failed_cases +
                           ". Its answers here are not PyTorch's.",
                       worst_table(failures));
  }
  const auto wrong = std::find_if(generation.begin(), generation.end(), [](const Replayed& each) { return !each.passed(); });
  if (wrong == generation.end()) return;
  const auto count = std::count_if(generation.begin(), generation.end(), [](const Replayed& each) { return !each.passed(); });
  throw parity_error("bundle " + bundle + ": every graph answers as PyTorch does on " + backend + " (" + device +
                         "), but together they do not write what it writes, in " + std::to_string(count) + " of " +
                         std::to_string(generation.size()) + " tries: case " + wrong->test_case + ", " + wrong->problem,
                     "");
}

VerifyReport verify(const std::shared_ptr<const Bundle>& bundle, const OpenOptions& options, const OnResult& on_result) {
  VerifyReport report;
  report.bundle = bundle->path.filename().string();
  bundle->read_rest();  // a proof believes nothing that is remembered
  std::vector<const Graph*> graphs;
  if (options.graph) {
    graphs.push_back(&bundle->graph(options.graph));
  } else {
    for (const Graph& graph : bundle->graphs) graphs.push_back(&graph);
  }
  for (const Graph* graph : graphs) {
    OpenOptions of_graph = options;
    of_graph.graph = graph->name;
    of_graph.paranoid = true;
    // A session that keeps a graph runs the one that it had: the next one runs what is kept.
    if (options.cache && !options.cache->empty()) Session::open(bundle, of_graph);
    const auto session = Session::open(bundle, of_graph);
    report.backend = session->backend, report.device = session->device, report.choice = session->choice;
    const Precision& precision = graph->precision(session->precision, session->where);
    if (std::none_of(graph->golden.begin(), graph->golden.end(), [&](const GoldenCase& each) { return each.holds_for(precision); })) {
      throw bundle_error(session->where + ": has no golden cases to verify against. Export it again.");
    }
    for (const GoldenCase& golden : graph->golden) {
      if (!golden.holds_for(precision)) continue;
      report.cases.push_back(replay_case(*bundle, *session, *graph, golden, precision));
      if (on_result.golden) on_result.golden(report.cases.back());
    }
  }
  if (!options.graph && has_generation(*bundle)) {
    OpenOptions same = options;  // what ran the graphs, also where it was chosen
    same.device = report.device, same.backend = report.backend, same.paranoid = true;
    report.generation = replay_generation(bundle, same, on_result.generated);
  }
  return report;
}

}  // namespace attn
