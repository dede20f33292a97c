// Hold a bundle, as this machine runs it, against what PyTorch answered when it was made. The Python twin is attn_runtime/tasks/verification.py.
#pragma once

#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "verify/compare.h"

namespace attn {

struct CaseResult {
  std::string graph, test_case;
  std::vector<Difference> differences;

  bool passed() const;
};

// One generated case, generated again. See verify/replay.h.
struct Replayed {
  std::string test_case;
  double score_error = std::numeric_limits<double>::quiet_NaN();  // NaN where the tokens are not the same
  double allowed_error = 0;
  std::string problem;  // what is wrong, in words; empty where nothing is

  bool passed() const { return problem.empty(); }
};

struct VerifyReport {
  std::string bundle, backend, device, choice;
  std::vector<CaseResult> cases;
  std::vector<Replayed> generation;

  void require() const;  // parity_error with a table of the worst elements unless every case passed
};

struct OnResult {
  std::function<void(const CaseResult&)> golden;
  std::function<void(const Replayed&)> generated;
};

// Replay every golden case of every graph (or of options.graph), and what the graphs of a generator write together. Raises bundle_error
// for a graph without golden cases, and what opening and running raise; not parity_error.
VerifyReport verify(const std::shared_ptr<const Bundle>& bundle, const OpenOptions& options, const OnResult& on_result);

}  // namespace attn
