#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "trt/engine.h"
#include "util/error.h"
#include "util/names.h"

namespace attn {
namespace {

Shape shape_of(const attn_trt_shape& shape) { return {shape.sizes, shape.sizes + shape.rank}; }

bool varies(const Shape& shape) { return std::find(shape.begin(), shape.end(), -1) != shape.end(); }

}  // namespace

TrtOpened::TrtOpened(const TrtLibrary& library, std::shared_ptr<Gpu> gpu, const std::vector<char>& plan, const GraphFile& graph,
                     std::string where, std::string command)
    : plugin(*library.plugin), gpu(std::move(gpu)), where(std::move(where)), command(std::move(command)) {
  const Gpu::Current current(*this->gpu);
  std::array<char, ATTN_TRT_WHY> why{};
  if (plugin.load(library.library, plan.data(), plan.size(), &engine_, why.data()) != 0) {
    throw engine_error(this->where + ": " + library.flavour + " " + library.version + " can't load it: " + why.data() +
                       ". Build it again here.");
  }
  try {
    read_tensors(graph);
    read_profiles();
    scratch_bytes = plugin.scratch_bytes(engine_);
  } catch (...) {
    plugin.unload(engine_);
    throw;
  }
}

TrtOpened::~TrtOpened() {
  try {
    const Gpu::Current current(*gpu);
    plugin.unload(engine_);
  } catch (const Error&) {  // the driver is gone, and all memory with it
  }
}

void TrtOpened::check(int status, const char* why) const {
  if (status != 0) throw backend_error(where + ": " + why);
}

void TrtOpened::read_tensors(const GraphFile& graph) {
  std::array<char, ATTN_TRT_WHY> why{};
  std::map<std::string, std::pair<TrtTensor, bool>> found;  // and whether it is an input
  std::vector<std::string> have;
  for (int32_t number = 0; number < plugin.tensor_count(engine_); ++number) {
    attn_trt_tensor told{};
    check(plugin.tensor(engine_, number, &told, why.data()), why.data());
    if (told.dtype == 0) {
      throw backend_error(where + ": tensor \"" + told.name + "\" is " + told.dtype_name +
                          "; sessions take bool, float16, float32, int32, int64, int8, uint8");
    }
    const TrtTensor tensor{number, told.name, static_cast<attn_dtype>(told.dtype), shape_of(told.shape), told.on_host != 0};
    found.emplace(told.name, std::make_pair(tensor, told.is_input != 0));
    have.emplace_back(told.name);
  }
  names_ = names_of(graph.inputs);
  std::vector<std::string> expected = names_;
  for (const std::string& name : names_of(graph.outputs)) expected.push_back(name);
  const bool all = std::all_of(expected.begin(), expected.end(), [&](const std::string& name) { return found.count(name) > 0; });
  if (!all || found.size() != expected.size()) {
    throw backend_error(graph.where + ": the engine has the tensors " + joined(have) + ", the graph " + joined(expected) +
                        ". Build it again.");
  }
  for (const auto* side : {&graph.inputs, &graph.outputs}) {
    const bool is_input = side == &graph.inputs;
    for (const TensorSpec& spec : *side) {
      const auto& [tensor, engine_input] = found.at(spec.name);
      if (tensor.dtype != spec.dtype || tensor.shape.size() != spec.dims.size() || engine_input != is_input) {
        throw backend_error(graph.where + ": the engine has " + (engine_input ? "the input " : "the output ") + spec.name + ": " +
                            name_of(tensor.dtype) + text(tensor.shape) + ", the graph " + (is_input ? "the input " : "the output ") +
                            spec.text() + ". Build it again.");
      }
      (is_input ? inputs : outputs).push_back(tensor);
    }
  }
}

void TrtOpened::read_profiles() {
  std::array<char, ATTN_TRT_WHY> why{};
  for (int32_t number = 0; number < plugin.profile_count(engine_); ++number) {
    TrtProfile profile;
    for (const TrtTensor& input : inputs) {
      std::array<Shape, 3> bounds;
      for (int32_t which = 0; which < 3; ++which) {
        // An input that does not vary may be left out of a profile, and then has shapes there that are none.
        bounds[static_cast<size_t>(which)] = input.shape;
        if (!varies(input.shape)) continue;
        attn_trt_shape told{};
        check(plugin.profile_shape(engine_, number, input.number, which, &told, why.data()), why.data());
        if (static_cast<size_t>(told.rank) != input.shape.size()) {
          throw backend_error(where + ": profile " + std::to_string(number) + " has " + input.name + " as " + text(shape_of(told)) +
                              ", which does not fit " + text(input.shape) + ". Build it again: " + command);
        }
        bounds[static_cast<size_t>(which)] = shape_of(told);
      }
      profile.push_back({bounds[0], bounds[1], bounds[2]});
    }
    profiles_.push_back(profile);
  }
}

attn_trt_context* TrtOpened::open_context(size_t profile, void* stream, void* scratch) const {
  std::array<char, ATTN_TRT_WHY> why{};
  attn_trt_context* context = nullptr;
  const std::lock_guard<std::mutex> only(creating_);
  check(plugin.open_context(engine_, static_cast<int32_t>(profile), stream, scratch, &context, why.data()), why.data());
  return context;
}

size_t TrtOpened::profile_for(const std::vector<Shape>& shapes) const { return choose_profile(profiles_, names_, shapes, where, command); }

}  // namespace attn
