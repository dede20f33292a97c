#include "session/choose.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <tuple>

#include "session/thread_choice.h"
#include "util/error.h"
#include "util/forks.h"
#include "util/names.h"

namespace attn {
namespace {

constexpr char kUnusedGpu[] = ", though there is a GPU, which could not be used";

struct PassedOver {
  std::string backend, device, reason;
};

void check_device(const std::string& device) {
  if (device == "auto" || device == "cpu" || device == "cuda") return;
  const bool numbered = device.rfind("cuda:", 0) == 0 && device.size() > 5 && device.size() <= 8 &&
                        std::all_of(device.begin() + 5, device.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
  if (numbered) return;
  const bool gpu = device.rfind("gpu", 0) == 0 || device.rfind("nvidia", 0) == 0;
  const std::string near = gpu ? "did you mean cuda? " : did_you_mean(device, {"auto", "cpu", "cuda"});
  throw usage_error("unknown device \"" + device + "\"; " + near + "available: auto, cpu, cuda, cuda:N");
}

// Each reason once, with all the backends it holds for; with `first`, only the first reason of each backend.
std::vector<std::string> reasons(const std::vector<PassedOver>& passed_over, bool first = false) {
  struct Together {
    std::string device, reason;
    std::vector<std::string> backends;
  };
  std::vector<Together> found;
  std::set<std::string> told;
  for (const auto& [backend, device, reason] : passed_over) {
    if (first && !told.insert(backend).second) continue;
    const auto same = std::find_if(found.begin(), found.end(), [&device = device, &reason = reason](const Together& each) {
      return each.device == device && each.reason == reason;
    });
    if (same != found.end()) {
      same->backends.push_back(backend);
    } else {
      found.push_back({device, reason, {backend}});
    }
  }
  std::vector<std::string> lines;
  for (const Together& each : found) lines.push_back(joined(each.backends) + " on " + each.device + " (" + each.reason + ")");
  return lines;
}

}  // namespace

Chosen open_engine(const GraphFile& graph, const OpenOptions& options, const std::vector<std::unique_ptr<Backend>>& all,
                   std::optional<std::string> (*no_gpu)(const std::string& device)) {
  check_device(options.device);
  std::vector<std::string> names, by_name_only;
  for (const auto& backend : all) {
    names.emplace_back(backend->name());
    if (!backend->automatic()) by_name_only.emplace_back(backend->name());
  }
  if (options.backend && std::find(names.begin(), names.end(), *options.backend) == names.end()) {
    throw usage_error("unknown backend \"" + *options.backend + "\"; " + did_you_mean(*options.backend, names) +
                      "available: " + joined(names) + ", or none to have one chosen");
  }
  std::vector<PassedOver> passed_over;
  const std::vector<std::string> devices =
      options.device == "auto" ? std::vector<std::string>{"cuda", "cpu"} : std::vector<std::string>{options.device};
  for (const std::string& device : devices) {
    for (const auto& backend : all) {
      if (options.backend ? *options.backend != backend->name() : !backend->automatic()) continue;
      std::optional<std::string> reason = backend->why_not(device, options);
      if (!reason) {
        try {
          std::unique_ptr<Engine> opened = backend->open(graph, device, options);
          if (options.adapt && device == "cpu") opened = as_free(std::move(opened), *backend, graph, options);
          // In a child of a fork it is left alone: to let go of it would wait for threads that are the parent's.
          const std::shared_ptr<Engine> engine(opened.release(), [process = Process()](Engine* abandoned) {
            if (process.is_this()) delete abandoned;
          });
          std::vector<std::string> told = reasons(passed_over, true);
          if (!options.backend && !by_name_only.empty()) told.push_back(joined(by_name_only) + " (only when asked for by name)");
          std::string choice = std::string(backend->name()) + " on " + device;
          if (graph.precision) choice += ", " + graph.precision->name;
          if (!engine->note.empty()) choice += " (" + engine->note + ")";
          if (options.device == "auto" && device == "cpu" && !no_gpu("cuda")) choice += kUnusedGpu;
          return {backend->name(), device, choice, joined(told, "; "), engine};
        } catch (const Error& error) {
          if (error.status != ATTN_ERROR_BACKEND) throw;
          reason = error.what();
        }
      }
      passed_over.push_back({backend->name(), device, *reason});
    }
  }
  const std::string asked = options.backend ? "backend " + *options.backend + " can't" : "no backend can";
  throw backend_error(asked + " run " + graph.where + " on " + options.device + ": " + joined(reasons(passed_over), "; ") +
                      ". See attn-run doctor.");
}

}  // namespace attn
