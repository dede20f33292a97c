// Requests to a generator, as C sees them.
#include <vector>

#include "c_api/errors.h"
#include "c_api/generator.h"
#include "c_api/tensors.h"
#include "engine/struct_size.h"
#include "util/forks.h"

struct attn_request {
  std::shared_ptr<attn::Request> request;
  std::shared_ptr<const attn::Text> text;  // null where the bundle takes no texts
  size_t told = 0;                         // tokens that attn_request_next gave
  attn::Process process{};
};

namespace attn {
namespace {

// Below 0: for as long as it takes.
std::optional<Clock::time_point> in(double seconds) { return seconds < 0 ? std::nullopt : after(seconds); }

attn_request* submitted(attn_generator& generator, const std::map<std::string, View>& inputs, const attn_generate_options* options,
                        double deadline) {
  auto made = std::make_unique<attn_request>();
  made->request = generator.generator->submit(inputs, GenerateOptions::of(options), deadline);
  made->text = generator.text;
  return made.release();
}

}  // namespace
}  // namespace attn

using namespace attn;

extern "C" {

int attn_generator_limit_requests(attn_generator* generator, const attn_request_limits* limits) {
  return guarded([&] {
    const attn_request_limits all =
        whole_options(*required(limits, "limits"), ATTN_REQUEST_LIMITS_INIT, sizeof(size_t), "attn_request_limits",
                      "attn_request_limits: size is " + std::to_string(limits->size) + "; set it with ATTN_REQUEST_LIMITS_INIT");
    required(generator, "generator")->generator->limit_requests({all.rows, all.waiting, all.memory});
  });
}

int attn_generator_submit(attn_generator* generator, const attn_tensor* inputs, size_t input_count, const attn_generate_options* options,
                          double deadline, attn_request** request) {
  return guarded([&] {
    required(generator, "generator");
    required(request, "request");
    *request = submitted(*generator, read_tensors(inputs, input_count, "inputs"), options, deadline);
  });
}

int attn_generator_submit_text(attn_generator* generator, const char* text, const attn_generate_options* options, double deadline,
                               attn_request** request) {
  return guarded([&] {
    required(generator, "generator");
    required(request, "request");
    required(text, "text");
    expect_text(*generator);
    const Tensors tensors = generator->text->encode({text});
    *request = submitted(*generator, views_of(tensors), options, deadline);
  });
}

int attn_request_next(attn_request* request, double seconds, int64_t* token) {
  return guarded([&] {
    required(request, "request");
    *required(token, "token") = ATTN_NO_TOKEN_YET;
    if (!request->request->wait(request->told + 1, in(seconds))) return;
    const std::optional<int64_t> next = request->request->token(request->told);
    *token = next.value_or(ATTN_NO_MORE_TOKENS);
    if (next) ++request->told;
  });
}

int attn_request_result(attn_request* request, double seconds, attn_result** result) {
  return guarded([&] {
    required(request, "request");
    *required(result, "result") = nullptr;
    if (!request->request->wait(static_cast<size_t>(-1), in(seconds))) return;
    *result = result_of(request->request->result(), request->text).release();
  });
}

void attn_request_cancel(attn_request* request) {
  if (request) request->request->cancel();
}

void attn_request_close(attn_request* request) {
  if (!request) return;
  if (request->process.is_this()) {
    request->request->close();
  } else {
    abandon(std::move(request->request));
  }
  delete request;
}

}  // extern "C"
