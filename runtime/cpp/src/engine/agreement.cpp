#include "engine/agreement.h"

#include <algorithm>
#include <map>

#include "util/error.h"
#include "util/names.h"

namespace attn {
namespace {

std::string names_in(const std::vector<TensorSpec>& specs) { return specs.empty() ? "(none)" : joined(names_of(specs)); }

}  // namespace

void check_agreement(const std::vector<TensorSpec>& promised, const std::vector<TensorSpec>& found, const char* side,
                     const GraphFile& graph) {
  const std::string has = graph.where + ": " + graph.precision->file.filename().string() + " has ";
  std::map<std::string, const TensorSpec*> by_name;
  for (const TensorSpec& spec : found) by_name[spec.name] = &spec;
  const bool all = std::all_of(promised.begin(), promised.end(), [&](const TensorSpec& spec) { return by_name.count(spec.name) > 0; });
  if (!all || found.size() != promised.size()) {
    throw bundle_error(has + "the " + side + "s " + names_in(found) + ", its record says " + names_in(promised) + ". Export it again.");
  }
  for (const TensorSpec& spec : promised) {
    const TensorSpec& other = *by_name[spec.name];
    // A tensor of unknown rank is shown as one of rank 0.
    bool fits = other.dims.empty() || other.dims.size() == spec.dims.size();
    for (size_t axis = 0; fits && axis < other.dims.size(); ++axis) {
      const Dim &ours = spec.dims[axis], &theirs = other.dims[axis];
      fits = theirs.dynamic() || (ours.min == ours.max && ours.max == theirs.opt);
    }
    if (spec.dtype != other.dtype || !fits) {
      throw bundle_error(has + other.text() + ", its record says " + spec.text() + ". Export it again.");
    }
  }
}

}  // namespace attn
