// Sessions, bindings and the proof, as C sees them.
#include "c_api/session.h"

#include <cmath>

#include "c_api/bundle.h"
#include "c_api/errors.h"
#include "c_api/tensors.h"
#include "generate/callbacks.h"
#include "util/names.h"
#include "verify/verify.h"

struct attn_binding {
  std::unique_ptr<attn::Binding> binding;
};

namespace attn {
namespace {

std::map<std::string, int64_t> read_sizes(const attn_size* sizes, size_t count) {
  if (count && !sizes) throw usage_error("parameter sizes is NULL; expected " + std::to_string(count) + " of them");
  std::map<std::string, int64_t> found;
  for (size_t i = 0; i < count; ++i) {
    if (!sizes[i].dim) throw usage_error("sizes[" + std::to_string(i) + "] has no dim; every size needs one");
    const auto [entry, fresh] = found.emplace(sizes[i].dim, sizes[i].value);
    if (!fresh && entry->second != sizes[i].value) {
      throw usage_error("sizes: dim " + entry->first + " is " + std::to_string(entry->second) + " and " + std::to_string(sizes[i].value));
    }
  }
  return found;
}

void read_binding(const attn_binding* binding, const char* side, const char* name, attn_tensor* tensor) {
  const Binding& found = *required(binding, "binding")->binding;
  const auto& buffers = side == std::string("input") ? found.inputs : found.outputs;
  const auto buffer = buffers.find(required(name, "name"));
  required(tensor, "tensor");
  if (buffer == buffers.end()) {
    std::vector<std::string> known;
    for (const auto& [each, view] : buffers) known.push_back(each);
    throw unknown(side, name, known, found.where);
  }
  attn_tensor filled{};
  write_tensor(buffer->second, found.where, filled);
  filled.name = buffer->first.c_str();
  filled.data = buffer->second.data;
  filled.bytes = buffer->second.bytes();
  *tensor = filled;
}

}  // namespace
}  // namespace attn

using namespace attn;

extern "C" {

int attn_session_open(const attn_bundle* bundle, const attn_open_options* options, attn_session** session) {
  return guarded([&] {
    required(session, "session");
    auto opened = std::make_unique<attn_session>();
    opened->session = Session::open(required(bundle, "bundle")->bundle, OpenOptions::of(options));
    opened->inputs = CSpecs(opened->session->inputs);
    opened->outputs = CSpecs(opened->session->outputs);
    *session = opened.release();
  });
}

void attn_session_close(attn_session* session) { delete session; }

const char* attn_session_backend(const attn_session* session) { return session ? session->session->backend.c_str() : nullptr; }
const char* attn_session_device(const attn_session* session) { return session ? session->session->device.c_str() : nullptr; }
const char* attn_session_precision(const attn_session* session) { return session ? session->session->precision.c_str() : nullptr; }
const char* attn_session_choice(const attn_session* session) { return session ? session->session->choice.c_str() : nullptr; }
const char* attn_session_passed_over(const attn_session* session) { return session ? session->session->passed_over.c_str() : nullptr; }
size_t attn_session_input_count(const attn_session* session) { return session ? session->inputs.size() : 0; }
size_t attn_session_output_count(const attn_session* session) { return session ? session->outputs.size() : 0; }
const attn_spec* attn_session_input(const attn_session* session, size_t index) { return session ? session->inputs.at(index) : nullptr; }
const attn_spec* attn_session_output(const attn_session* session, size_t index) { return session ? session->outputs.at(index) : nullptr; }

int attn_session_run(attn_session* session, const attn_tensor* inputs, size_t input_count, attn_tensor* outputs, size_t output_count) {
  return guarded([&] {
    const Session& opened = *required(session, "session")->session;
    const auto given = read_tensors(inputs, input_count, "inputs");
    const std::vector<std::string> names = read_names(outputs, output_count, "outputs");
    std::map<std::string, Session::Wanted> wanted;
    for (size_t i = 0; i < output_count; ++i) wanted[names[i]] = {{{}, {}, outputs[i].data}, outputs[i].bytes};
    const auto fill = [&] {
      for (size_t i = 0; i < output_count; ++i) {
        const View& view = wanted[names[i]].view;
        if (size_of(view.dtype)) write_tensor(view, opened.where, outputs[i]);
      }
    };
    try {
      opened.run_into(given, wanted);
    } catch (const Error& error) {
      if (error.status == ATTN_ERROR_INPUT) fill();  // too little room: the shape says how much is needed
      throw;
    }
    fill();
  });
}

int attn_session_bind(attn_session* session, const attn_size* sizes, size_t size_count, const attn_tensor* inputs, size_t input_count,
                      const attn_tensor* outputs, size_t output_count, attn_binding** binding) {
  return guarded([&] {
    const Session& opened = *required(session, "session")->session;
    required(binding, "binding");
    auto made = std::make_unique<attn_binding>();
    made->binding = opened.bind(read_sizes(sizes, size_count), read_tensors(inputs, input_count, "inputs"),
                                read_tensors(outputs, output_count, "outputs"));
    *binding = made.release();
  });
}

void attn_binding_close(attn_binding* binding) { delete binding; }

int attn_binding_input(const attn_binding* binding, const char* name, attn_tensor* tensor) {
  return guarded([&] { read_binding(binding, "input", name, tensor); });
}

int attn_binding_output(const attn_binding* binding, const char* name, attn_tensor* tensor) {
  return guarded([&] { read_binding(binding, "output", name, tensor); });
}

int attn_binding_run(attn_binding* binding) {
  return guarded([&] { required(binding, "binding")->binding->run(); });
}

int attn_bundle_verify(const attn_bundle* bundle, const attn_open_options* options, void (*on_check)(const attn_check* check, void* user),
                       void* user) {
  return guarded([&] {
    OnResult tell;
    if (on_check) {
      tell.golden = [&](const CaseResult& result) {
        for (const Difference& each : result.differences) {
          const attn_check check{result.graph.c_str(), result.test_case.c_str(), each.output.c_str(), each.max_error,
                                 each.max_reference,   each.limit,               each.passed,         each.problem.c_str()};
          called_back("on_check", [&] { on_check(&check, user); });
        }
      };
      tell.generated = [&](const Replayed& result) {
        const double error = std::isnan(result.score_error) ? 0.0 : result.score_error;
        const attn_check check{nullptr, result.test_case.c_str(), nullptr, error, 0.0, result.allowed_error, result.passed(),
                               result.problem.c_str()};
        called_back("on_check", [&] { on_check(&check, user); });
      };
    }
    verify(required(bundle, "bundle")->bundle, OpenOptions::of(options), tell).require();
  });
}

}  // extern "C"
