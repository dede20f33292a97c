#include "session/session.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "session/choose.h"
#include "util/error.h"
#include "util/names.h"

namespace attn {
namespace {

std::vector<std::string> dims_of(const std::vector<TensorSpec>& specs) {
  std::vector<std::string> names;
  for (const TensorSpec& spec : specs) {
    for (const Dim& dim : spec.dims) {
      if (dim.name && std::find(names.begin(), names.end(), *dim.name) == names.end()) names.push_back(*dim.name);
    }
  }
  return names;
}

template <typename Value>
void check_names(const char* kind, const std::map<std::string, Value>& given, const std::vector<std::string>& known,
                 const std::string& where) {
  for (const auto& [name, value] : given) {
    if (std::find(known.begin(), known.end(), name) == known.end()) throw unknown(kind, name, known, where);
  }
}

void check_buffer(const char* side, const std::string& name, const View& view, const Signature& expected, const std::string& where) {
  if (view.dtype != expected.dtype || view.shape != expected.shape) {
    throw input_error(std::string(side) + " \"" + name + "\": the buffer is " + name_of(view.dtype) + " " + text(view.shape) +
                      "; expected " + name_of(expected.dtype) + " " + text(expected.shape) + " in C order (" + where + ").");
  }
  check_memory(side, name, view, where);
}

GraphFile graph_file(std::shared_ptr<const Bundle> bundle, const OpenOptions& options) {
  const Graph& graph = bundle->graph(options.graph);
  const std::string where = bundle->label(graph);
  const Precision& precision = graph.precision(options.precision, where);
  GraphFile found{std::move(bundle), &graph, &precision, where, graph.inputs, graph.outputs};
  if (precision.half_io) {
    for (auto* side : {&found.inputs, &found.outputs}) {
      for (TensorSpec& spec : *side) {
        if (spec.dtype == ATTN_FLOAT32) spec.dtype = ATTN_FLOAT16;
      }
    }
  }
  return found;
}

}  // namespace

void check_memory(const char* side, const std::string& name, const View& view, const std::string& where) {
  if (!view.data && elements(view.shape) > 0) {
    throw input_error(std::string(side) + " \"" + name + "\": its data is NULL; expected " + std::to_string(view.bytes()) +
                      " bytes for " + name_of(view.dtype) + " " + text(view.shape) + " (" + where + ")");
  }
  if (reinterpret_cast<uintptr_t>(view.data) % size_of(view.dtype) != 0) {
    throw input_error(std::string(side) + " \"" + name + "\": its data is not aligned to the " + std::to_string(size_of(view.dtype)) +
                      " bytes of a " + name_of(view.dtype) + " (" + where + "). Copy it to an aligned buffer.");
  }
}

void check_bools(const std::string& name, const View& view, const std::string& where) {
  if (view.dtype != ATTN_BOOL) return;
  const auto* begin = view.as<uint8_t>();
  unsigned largest = 0;  // a maximum, and no search: the compiler makes wide steps of it
  for (size_t i = 0, count = elements(view.shape); i < count; ++i) largest = std::max<unsigned>(largest, begin[i]);
  if (largest > 1) {
    throw input_error("input \"" + name + "\": is bool and holds a byte " + std::to_string(largest) + "; expected 0 and 1 alone (" + where +
                      ").");
  }
}

void Binding::run() {
  process.require("session", where);
  for (const auto& [name, view] : bools) check_bools(name, view, where);
  call->run();
}

std::shared_ptr<Session> Session::open(std::shared_ptr<const Bundle> bundle, const OpenOptions& options) {
  GraphFile graph = graph_file(bundle, options);
  Chosen chosen = bundle->files->read(graph.files(), [&] { return open_engine(graph, options); });
  auto session = std::make_shared<Session>();
  session->bundle = std::move(bundle);
  session->backend = chosen.backend, session->device = chosen.device, session->choice = chosen.choice;
  session->passed_over = chosen.passed_over;
  session->precision = graph.precision->name, session->where = graph.where;
  session->inputs = std::move(graph.inputs), session->outputs = std::move(graph.outputs);
  session->engine = std::move(chosen.engine);
  return session;
}

std::vector<View> Session::checked(const std::map<std::string, View>& given) const {
  std::map<std::string, Signature> signatures;
  for (const auto& [name, view] : given) signatures[name] = {view.dtype, view.shape};
  check_shapes(inputs, signatures, where);
  std::vector<View> ordered;
  for (const TensorSpec& spec : inputs) {
    const View& view = given.at(spec.name);
    check_memory("input", spec.name, view, where);
    check_bools(spec.name, view, where);
    ordered.push_back(view);
  }
  return ordered;
}

std::optional<std::vector<Signature>> Session::known_outputs(const std::vector<Shape>& input_shapes) const {
  std::map<std::string, int64_t> sizes;
  for (size_t i = 0; i < inputs.size(); ++i) {
    for (size_t axis = 0; axis < inputs[i].dims.size(); ++axis) {
      if (inputs[i].dims[axis].name) sizes[*inputs[i].dims[axis].name] = input_shapes[i][axis];
    }
  }
  std::vector<Signature> found;
  for (const TensorSpec& spec : outputs) {
    for (const Dim& dim : spec.dims) {
      if (dim.dynamic() && (!dim.name || sizes.count(*dim.name) == 0)) return std::nullopt;
    }
    found.push_back({spec.dtype, spec.shape(sizes)});
  }
  return found;
}

std::vector<Signature> Session::learnt_outputs(const std::vector<Shape>& input_shapes) const {
  if (auto known = known_outputs(input_shapes)) return *known;
  std::vector<Tensor> zeros;
  std::vector<View> views;
  for (size_t i = 0; i < inputs.size(); ++i) {
    zeros.emplace_back(inputs[i].name, inputs[i].dtype, input_shapes[i]);
    views.push_back(zeros.back().view());
  }
  std::vector<Output> made(outputs.size());
  engine->run(views, made);
  std::vector<Signature> found;
  for (const Output& output : made) found.push_back({output.view.dtype, output.view.shape});
  return found;
}

Tensors Session::run(const std::map<std::string, View>& given) const {
  process.require("session", where);
  const std::vector<View> in = checked(given);
  std::vector<Shape> shapes;
  for (const View& view : in) shapes.push_back(view.shape);
  std::vector<Output> out(outputs.size());
  if (const auto known = known_outputs(shapes)) {
    for (size_t i = 0; i < out.size(); ++i) {
      out[i].made = Tensor(outputs[i].name, (*known)[i].dtype, (*known)[i].shape);
      out[i].view = out[i].made.view();
    }
  }
  engine->run(in, out);
  Tensors found;
  for (size_t i = 0; i < out.size(); ++i) found.emplace(outputs[i].name, std::move(out[i].made));
  return found;
}

void Session::run_into(const std::map<std::string, View>& given, std::map<std::string, Wanted>& wanted) const {
  process.require("session", where);
  check_names("output", wanted, names_of(outputs), where);
  const std::vector<View> in = checked(given);
  if (wanted.empty()) return;  // ONNX Runtime refuses to run for nothing
  std::vector<Shape> shapes;
  for (const View& view : in) shapes.push_back(view.shape);
  const auto known = known_outputs(shapes);
  std::vector<Output> out(outputs.size());

  std::vector<Wanted*> to(outputs.size(), nullptr);
  for (size_t i = 0; i < outputs.size(); ++i) {
    const auto found = wanted.find(outputs[i].name);
    if (found != wanted.end()) to[i] = &found->second;
    out[i].wanted = to[i] != nullptr;
  }
  // Fill every shape in before the first that has too little room is told.
  const auto place = [&](const auto& signature_of) {
    for (size_t i = 0; i < to.size(); ++i) {
      if (to[i]) to[i]->view.dtype = signature_of(i).dtype, to[i]->view.shape = signature_of(i).shape;
    }
    for (size_t i = 0; i < to.size(); ++i) {
      if (!to[i]) continue;
      if (const size_t needed = to[i]->view.bytes(); to[i]->room < needed) {
        throw input_error("output \"" + outputs[i].name + "\": " + name_of(to[i]->view.dtype) + " " + text(to[i]->view.shape) +
                          " takes " + std::to_string(needed) + " bytes, and there is room for " + std::to_string(to[i]->room) + " (" +
                          where + ").");
      }
      check_memory("output", outputs[i].name, to[i]->view, where);
    }
  };
  if (known) {
    place([&](size_t i) -> const Signature& { return (*known)[i]; });
    for (size_t i = 0; i < out.size(); ++i) {
      if (to[i]) out[i].view = to[i]->view;
    }
    engine->run(in, out);
    return;
  }
  engine->run(in, out);
  place([&](size_t i) -> const Tensor& { return out[i].made; });
  for (size_t i = 0; i < out.size(); ++i) {
    if (!to[i]) continue;
    if (const size_t bytes = to[i]->view.bytes()) std::memcpy(to[i]->view.data, out[i].made.buffer.data(), bytes);
  }
}

std::vector<Shape> Session::shapes(const std::map<std::string, int64_t>& sizes, const std::map<std::string, View>& given) const {
  check_names("dim", sizes, dims_of(inputs), where);
  std::map<std::string, int64_t> all = sizes;
  // A buffer's shape sets its dims for the other inputs too; check_shapes finds contradictions.
  for (const TensorSpec& spec : inputs) {
    const auto found = given.find(spec.name);
    if (found == given.end()) continue;
    for (size_t axis = 0; axis < std::min(spec.dims.size(), found->second.shape.size()); ++axis) {
      if (spec.dims[axis].name) all.emplace(*spec.dims[axis].name, found->second.shape[axis]);
    }
  }
  std::vector<Shape> shapes;
  std::map<std::string, Signature> signatures;
  for (const TensorSpec& spec : inputs) {
    const auto found = given.find(spec.name);
    shapes.push_back(found == given.end() ? spec.shape(all) : found->second.shape);
    signatures[spec.name] = {found == given.end() ? spec.dtype : found->second.dtype, shapes.back()};
  }
  check_shapes(inputs, signatures, where);
  return shapes;
}

std::unique_ptr<Binding> Session::bind(const std::map<std::string, int64_t>& sizes, const std::map<std::string, View>& given_inputs,
                                       const std::map<std::string, View>& given_outputs) const {
  process.require("session", where);
  check_names("input", given_inputs, names_of(inputs), where);
  check_names("output", given_outputs, names_of(outputs), where);
  const std::vector<Shape> wanted = shapes(sizes, given_inputs);
  auto binding = std::make_unique<Binding>();
  std::vector<View> in, out;
  const auto buffer = [&](const char* side, const TensorSpec& spec, const Signature& expected, const std::map<std::string, View>& given) {
    if (const auto found = given.find(spec.name); found != given.end()) {
      check_buffer(side, spec.name, found->second, expected, where);
      return found->second;
    }
    binding->made.emplace_back(spec.name, expected.dtype, expected.shape);
    return binding->made.back().view();
  };
  try {
    const std::vector<Signature> learnt = learnt_outputs(wanted);
    for (size_t i = 0; i < inputs.size(); ++i) {
      in.push_back(buffer("input", inputs[i], {inputs[i].dtype, wanted[i]}, given_inputs));
      binding->inputs[inputs[i].name] = in.back();
      if (inputs[i].dtype == ATTN_BOOL) binding->bools.emplace_back(inputs[i].name, in.back());
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      out.push_back(buffer("output", outputs[i], learnt[i], given_outputs));
      binding->outputs[outputs[i].name] = out.back();
    }
  } catch (const std::bad_alloc&) {
    std::string shown;
    for (size_t i = 0; i < inputs.size(); ++i) shown += (i ? ", " : "") + inputs[i].name + " " + text(wanted[i]);
    throw input_error(where + ": buffers for " + shown + " do not fit in memory");
  }
  binding->where = where;
  binding->engine = engine;
  binding->call = engine->bind(in, out);
  return binding;
}

}  // namespace attn
