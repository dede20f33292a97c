// Which backend and device are taken, and what is said of the others.
#include <algorithm>

#include "ort/cores.h"
#include "session/choose.h"
#include "support/one_core.h"
#include "support/scratch.h"

namespace attn {
namespace {

class Nothing : public Engine {
 public:
  void run(const std::vector<View>&, std::vector<Output>&) override {}
  std::unique_ptr<BoundCall> bind(const std::vector<View>&, const std::vector<View>&) override { return nullptr; }
};

// A backend that is what the test says.
class Told : public Backend {
 public:
  Told(std::string name, std::string against_cuda, std::string against_cpu, bool automatic = true, std::string opening = "")
      : name_(std::move(name)), cuda_(std::move(against_cuda)), cpu_(std::move(against_cpu)), opening_(std::move(opening)),
        automatic_(automatic) {}
  const char* name() const override { return name_.c_str(); }
  bool automatic() const override { return automatic_; }
  std::optional<std::string> why_not(const std::string& device, const OpenOptions&) override {
    const std::string& reason = device == "cpu" ? cpu_ : cuda_;
    if (reason.empty()) return std::nullopt;
    return reason;
  }
  std::unique_ptr<Engine> open(const GraphFile&, const std::string&, const OpenOptions&) override {
    if (opening_ == "damaged") throw bundle_error("damaged");
    if (!opening_.empty()) throw backend_error(opening_);
    return std::make_unique<Nothing>();
  }

 private:
  std::string name_, cuda_, cpu_, opening_;
  bool automatic_;
};

using Backends = std::vector<std::unique_ptr<Backend>>;

template <typename... Each>
Backends those(Each... each) {
  Backends made;
  (made.push_back(std::make_unique<Told>(each)), ...);
  return made;
}

OpenOptions asked(const std::string& device, std::optional<std::string> backend = {}) {
  OpenOptions options;
  options.device = device, options.backend = std::move(backend);
  return options;
}

std::optional<std::string> none_here(const std::string&) { return "no driver"; }

Chosen chosen(const Backends& all, const OpenOptions& options, std::optional<std::string> (*no_gpu)(const std::string&) = none_here) {
  GraphFile graph{nullptr, nullptr, nullptr, "bundle a.attn", {}, {}};
  return open_engine(graph, options, all, no_gpu);
}

TEST(Choose, AutoTakesAGpuThatWorks) {
  const Chosen found = chosen(those(Told("one", "", "")), asked("auto"));
  EXPECT_EQ(found.choice, "one on cuda");
  EXPECT_EQ(found.passed_over, "");
}

TEST(Choose, AutoSaysWhyTheGpuWasPassedOver) {
  const Backends all = those(Told("one", "no driver", ""), Told("two", "no driver", ""), Told("slow", "", "", false));
  const Chosen found = chosen(all, asked("auto"));
  EXPECT_EQ(found.choice, "one on cpu");
  EXPECT_EQ(found.passed_over, "one, two on cuda (no driver); slow (only when asked for by name)");
  EXPECT_EQ(chosen(all, asked("cpu", "two")).choice, "two on cpu");
  EXPECT_EQ(chosen(all, asked("cpu", "two")).passed_over, "");
}

TEST(Choose, AGpuThatIsThereAndLeftUnusedIsTold) {
  const Backends all = those(Told("one", "built without CUDA", ""));
  const auto there = [](const std::string&) { return std::optional<std::string>(); };
  EXPECT_EQ(chosen(all, asked("auto"), there).choice, "one on cpu, though there is a GPU, which could not be used");
  EXPECT_EQ(chosen(all, asked("cpu"), there).choice, "one on cpu");
  EXPECT_EQ(chosen(those(Told("one", "", "")), asked("auto"), there).choice, "one on cuda");
}

TEST(Choose, WhatFailsToOpenIsPassedOverOnlyWhereTheBackendIsAtFault) {
  EXPECT_EQ(chosen(those(Told("one", "", "", true, "out of memory"), Told("two", "", "")), asked("cuda")).passed_over,
            "one on cuda (out of memory)");
  const Backends damaged = those(Told("one", "", "", true, "damaged"), Told("two", "", ""));
  EXPECT_EQ(raised([&] { chosen(damaged, asked("cuda")); }), "damaged");
}

TEST(Choose, ThreadsAdaptOnTheCpuWhereThereAreSeveralCores) {
  OpenOptions options = asked("cpu");
  options.adapt = true;
  const Backends all = those(Told("one", "", ""));
  const int cores = own_cores()->usable;
  EXPECT_EQ(chosen(all, options).choice, cores == 1 ? "one on cpu" : "one on cpu (as many of " + std::to_string(cores) + " threads as cores are free)");
  options.device = "cuda";
  EXPECT_EQ(chosen(all, options).choice, "one on cuda");
  options.device = "cpu";
  const OneCore bound;
  EXPECT_EQ(chosen(all, options).choice, "one on cpu");
}

TEST(Choose, ANamedDeviceIsTakenOrRefused) {
  const Backends all = those(Told("one", "no driver", ""), Told("slow", "", "", false));
  EXPECT_EQ(raised([&] { chosen(all, asked("cuda")); }, ATTN_ERROR_BACKEND),
            "no backend can run bundle a.attn on cuda: one on cuda (no driver). See attn-run doctor.");
  EXPECT_EQ(raised([&] { chosen(all, asked("cuda:3", "one")); }, ATTN_ERROR_BACKEND),
            "backend one can't run bundle a.attn on cuda:3: one on cuda:3 (no driver). See attn-run doctor.");
}

TEST(Choose, UnknownNamesAreToldWithTheNearest) {
  const Backends all = those(Told("ort", "", ""));
  EXPECT_EQ(raised([&] { chosen(all, asked("gpu")); }, ATTN_ERROR_USAGE),
            "unknown device \"gpu\"; did you mean cuda? available: auto, cpu, cuda, cuda:N");
  EXPECT_EQ(raised([&] { chosen(all, asked("cpu", "otr")); }, ATTN_ERROR_USAGE),
            "unknown backend \"otr\"; did you mean ort? available: ort, or none to have one chosen");
  for (const char* device : {"", "cuda:", "cuda:x", "cuda:1234", "cuda:-1", "CPU "}) {
    EXPECT_NE(raised([&] { chosen(all, asked(device)); }, ATTN_ERROR_USAGE), "") << device;
  }
}

}  // namespace
}  // namespace attn
