#include "trt/backend.h"

#include "engine/gpus.h"
#include "trt/engine.h"
#include "trt/engines.h"
#include "util/error.h"

namespace attn {
namespace {

class Trt : public Backend {
 public:
  const char* name() const override { return "trt"; }

  // The driver first: without it some versions of TensorRT crash.
  std::optional<std::string> why_not(const std::string& device, const OpenOptions&) override {
    if (device == "cpu") return "TensorRT engines run on an NVIDIA GPU; take device cuda";
    if (auto reason = why_no_gpu(device)) return reason;
    try {
      TrtLibrary::load();
      return std::nullopt;
    } catch (const Error& error) {
      return error.what();
    }
  }

  std::unique_ptr<Engine> open(const GraphFile& graph, const std::string& device, const OpenOptions&) override {
    const TrtLibrary& library = TrtLibrary::load();
    const int number = gpu_number(device);
    const Machine machine{{{library.flavour, library.version}}, gpu_compute_capability(number), os_name()};
    const EngineFile found = find_engine(graph, machine);
    const std::vector<char> plan = read_plan(found);
    const std::string where = graph.where + ", engine " + found.path.filename().string();
    return make_trt_engine(std::make_shared<TrtOpened>(library, Gpu::open(number), plan, graph, where, build_command(graph)));
  }
};

}  // namespace

std::unique_ptr<Backend> trt_backend() { return std::make_unique<Trt>(); }

}  // namespace attn
