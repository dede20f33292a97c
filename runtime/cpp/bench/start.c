/* From the start of the process to the first answer, by the C interface: scripts/bench/user/cold_start.py runs it.
 *
 *   attn_bench_start BUNDLE.attn LIBRARY CACHE|-    zeros of the usual sizes, fp32, one thread; prints the sum of the first output
 */
#include <attn/runtime.h>
#include <stdio.h>
#include <string.h>

int main(int count, char** given) {
  attn_open_options options = ATTN_OPEN_OPTIONS_INIT;
  attn_bundle* bundle = NULL;
  attn_session* session = NULL;
  attn_binding* call = NULL;
  const attn_spec* spec = NULL;
  attn_tensor output;
  double sum = 0.0;
  size_t i;
  int status;
  if (count < 4) return 2;
  options.device = "cpu", options.backend = "ort", options.threads = 1, options.library = given[2];
  if (strcmp(given[3], "-") != 0) options.cache = given[3];
  status = attn_bundle_open(given[1], &bundle);
  if (!status) status = attn_session_open(bundle, &options, &session);
  if (!status) status = attn_session_bind(session, NULL, 0, NULL, 0, NULL, 0, &call);
  if (!status) status = attn_binding_run(call);
  if (!status) spec = attn_session_output(session, 0);
  if (!status) status = attn_binding_output(call, spec->name, &output);
  if (status) {
    fprintf(stderr, "%s\n", attn_last_error());
    return status;
  }
  for (i = 0; i < output.bytes / sizeof(float); ++i) sum += ((const float*)output.data)[i];
  printf("%.6f\n", sum);
  fflush(stdout);
  attn_binding_close(call), attn_session_close(session), attn_bundle_close(bundle);
  return 0;
}
