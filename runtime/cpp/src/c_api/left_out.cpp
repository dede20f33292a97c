// In place of generators, texts and transcriptions, in a library that was built without them: the same functions, which say so.
#include <limits>

#include "c_api/errors.h"

namespace {

int left_out() {
  return attn::guarded([] { throw attn::left_out_error(); });
}

}  // namespace

extern "C" {

int attn_generator_open(const attn_bundle*, const attn_open_options*, attn_generator**) { return left_out(); }
void attn_generator_close(attn_generator*) {}
const char* attn_generator_choice(const attn_generator*) { return nullptr; }
const char* attn_generator_passed_over(const attn_generator*) { return nullptr; }
size_t attn_generator_input_count(const attn_generator*) { return 0; }
const attn_spec* attn_generator_input(const attn_generator*, size_t) { return nullptr; }
int64_t attn_generator_max_length(const attn_generator*) { return 0; }
int64_t attn_generator_vocabulary(const attn_generator*) { return 0; }
int attn_generator_generate(attn_generator*, const attn_tensor*, size_t, const attn_generate_options*, attn_result**) { return left_out(); }
int attn_generator_generate_text(attn_generator*, const char* const*, size_t, const attn_generate_options*,
                                 attn_result**) { return left_out(); }
void attn_result_close(attn_result*) {}
size_t attn_result_rows(const attn_result*) { return 0; }
const int64_t* attn_result_tokens(const attn_result*, size_t, size_t* length) {
  if (length) *length = 0;
  return nullptr;
}
double attn_result_score(const attn_result*, size_t) { return std::numeric_limits<double>::quiet_NaN(); }
int attn_result_stopped(const attn_result*, size_t) { return 0; }
size_t attn_result_drafted(const attn_result*) { return 0; }
size_t attn_result_accepted(const attn_result*) { return 0; }
attn_stopped attn_result_why(const attn_result*, size_t) { return ATTN_STOPPED_LENGTH; }
const char* attn_result_text(const attn_result*, size_t) { return ""; }
const char* attn_result_note(const attn_result*, size_t) { return nullptr; }
int attn_generator_limit_requests(attn_generator*, const attn_request_limits*) { return left_out(); }
int attn_generator_submit(attn_generator*, const attn_tensor*, size_t, const attn_generate_options*, double,
                          attn_request**) { return left_out(); }
int attn_generator_submit_text(attn_generator*, const char*, const attn_generate_options*, double, attn_request**) { return left_out(); }
int attn_request_next(attn_request*, double, int64_t*) { return left_out(); }
int attn_request_result(attn_request*, double, attn_result**) { return left_out(); }
void attn_request_cancel(attn_request*) {}
void attn_request_close(attn_request*) {}
int attn_bundle_text(const attn_bundle*, const char* const*, size_t, attn_tensor*, attn_tensor*) { return left_out(); }
int attn_bundle_text_pairs(const attn_bundle*, const char* const*, const char* const*, size_t, attn_tensor*, attn_tensor*,
                           attn_tensor*) { return left_out(); }
int attn_session_transcribe(attn_session*, const float*, size_t, size_t, size_t, const char**) { return left_out(); }
int attn_session_transcribe_wav(attn_session*, const char*, const char**) { return left_out(); }
int attn_generator_transcribe(attn_generator*, const float*, size_t, size_t, size_t, const attn_generate_options*,
                              const char**) { return left_out(); }
int attn_generator_transcribe_wav(attn_generator*, const char*, const attn_generate_options*, const char**) { return left_out(); }

}  // extern "C"
