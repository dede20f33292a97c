/* attn_runtime: run attn-export bundles from C or C++. This header is the whole interface; runtime.hpp wraps it for C++17.
 *
 * A bundle is opened and hashed, one of its graphs becomes a session, and a bound call runs it on buffers that stay:
 *
 *     #include <attn/runtime.h>
 *     #include <stdio.h>
 *
 *     int main(void) {
 *       attn_bundle* bundle = NULL;
 *       attn_session* session = NULL;
 *       attn_binding* call = NULL;
 *       attn_tensor image, logits;
 *       attn_size batch[] = {{"batch", 1}};
 *       int status = attn_bundle_open("attentionnet.attn", &bundle);
 *       if (!status) status = attn_bundle_verify(bundle, NULL, NULL, NULL);   // its answers here are PyTorch's, or status 4
 *       if (!status) status = attn_session_open(bundle, NULL, &session);      // NULL: the best device, one graph, fp32
 *       if (!status) status = attn_session_bind(session, batch, 1, NULL, 0, NULL, 0, &call);
 *       if (!status) status = attn_binding_input(call, "image", &image);
 *       if (!status) status = attn_binding_output(call, "logits", &logits);
 *       for (int frame = 0; !status && frame < 100; ++frame) {
 *         float* pixels = image.data;                                         // [1, 3, 32, 32]
 *         for (int i = 0; i < 3 * 32 * 32; ++i) pixels[i] = 0.5f;
 *         status = attn_binding_run(call);                                    // allocates nothing
 *       }
 *       if (!status) printf("%f\n", ((const float*)logits.data)[0]);
 *       if (status) fprintf(stderr, "error: %s\n", attn_last_error());
 *       attn_binding_close(call);
 *       attn_session_close(session);
 *       attn_bundle_close(bundle);
 *       return status;
 *     }
 *
 * Ownership and lifetimes
 *   - What an `_open`, `_bind`, `_generate` or `_submit` gave is closed with its `_close`; NULL may be closed. A session keeps what it needs of its
 *     bundle, a binding of its session: they may be closed in any order.
 *   - Pointers read from a handle (names, specs, JSON, buffers of a binding, tokens of a result) live as long as that handle, and
 *     are the library's. `attn_last_error` lives until the same thread's next call.
 *   - Buffers that you give are yours: they must outlive the call, those of a binding the binding.
 *   - Options are read during the call alone.
 *
 * Threads
 *   - A bundle and a session may be used from many threads at once. A binding and a result belong to one thread at a time. A
 *     generator does one generation at a time: calls of other threads wait. A request belongs to one thread at a time, but may be cancelled
 *     from any.
 *   - Nothing may be used while it is being closed.
 *   - A session, a binding and a generator belong to the process that opened them. In a child of a fork, calls of them return
 *     ATTN_ERROR_USAGE; closing them there is safe, and a bundle may be used on.
 *
 * Errors
 *   - Every function that can fail returns an attn_status; its values are the exit codes of attn-run. The message is
 *     one line: what was found, what was expected, what to do next. No exception leaves the library: what
 *     a callback throws is ATTN_ERROR_USAGE with what it says.
 *   - An output parameter is written only when ATTN_OK is returned, but for the shape of an output that was too small.
 */
#ifndef ATTN_RUNTIME_H
#define ATTN_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define ATTN_API __declspec(dllexport)
#elif defined(__GNUC__)
#define ATTN_API __attribute__((visibility("default")))
#else
#define ATTN_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Grows by one when something here changes that a compiled program can notice. New functions leave it as it is, and so do
 * members at the end of a struct that begins with `size`. */
#define ATTN_ABI_VERSION 1
#define ATTN_MAX_RANK 8

typedef enum attn_status {
  ATTN_OK = 0,
  ATTN_ERROR_INTERNAL = 1, /* a bug of this library, or no memory left */
  ATTN_ERROR_USAGE = 2,    /* an unknown name, a bad option, a NULL that must not be one */
  ATTN_ERROR_PARITY = 4,   /* the answers are not PyTorch's; attn_last_error_details has a table */
  ATTN_ERROR_INPUT = 7,    /* a tensor of a wrong name, dtype, rank or size; a text, picture or recording that can't be used */
  ATTN_ERROR_BUNDLE = 8,   /* the bundle is missing, damaged, hostile, or of an unknown schema version */
  ATTN_ERROR_BACKEND = 10, /* nothing here can run this graph on that device */
  ATTN_ERROR_ENGINE = 14   /* the engine or its key is damaged, or its library refuses it; one that is not for here is ATTN_ERROR_BACKEND */
} attn_status;

typedef enum attn_dtype {
  ATTN_FLOAT16 = 1,
  ATTN_FLOAT32,
  ATTN_FLOAT64,
  ATTN_INT8,
  ATTN_INT16,
  ATTN_INT32,
  ATTN_INT64,
  ATTN_UINT8,
  ATTN_UINT16,
  ATTN_UINT32,
  ATTN_UINT64,
  ATTN_BOOL /* one byte, 0 or 1 */
} attn_dtype;

/* Memory with a name and a shape: C-contiguous, host memory, native byte order. */
typedef struct attn_tensor {
  const char* name;
  attn_dtype dtype;
  void* data;
  size_t bytes; /* room at `data`: of an input at least what the shape needs */
  size_t rank;
  int64_t shape[ATTN_MAX_RANK];
} attn_tensor;

/* The size of a named dim, or of all dims that have the name. */
typedef struct attn_size {
  const char* dim;
  int64_t value;
} attn_size;

/* One axis: a fixed one has no name (NULL) and three equal sizes, in elements, both ends included. */
typedef struct attn_dim {
  const char* name;
  int64_t min, opt, max;
} attn_dim;

/* What an input or output of a graph may look like. `low` (inclusive) and `high` (exclusive) bound the values of an integer input
 * where has_low and has_high say so. */
typedef struct attn_spec {
  const char* name;
  attn_dtype dtype;
  size_t rank;
  const attn_dim* dims;
  const char* meaning; /* may be "" */
  const char* unit;    /* may be "" */
  int has_low, has_high;
  int64_t low, high;
} attn_spec;

typedef struct attn_bundle attn_bundle;
typedef struct attn_session attn_session;
typedef struct attn_binding attn_binding;
typedef struct attn_generator attn_generator;
typedef struct attn_result attn_result;

/* ---- The library ---- */

/* ATTN_ABI_VERSION of the library that was loaded: compare it with the header's. */
ATTN_API int attn_abi_version(void);
/* As "0.1.0". */
ATTN_API const char* attn_version(void);
/* Why this thread's last call failed, in one line; "" after a call that did not. */
ATTN_API const char* attn_last_error(void);
/* A table of several lines for what has one (parity: the worst elements), or "". */
ATTN_API const char* attn_last_error_details(void);
/* What the recording of this thread's last attn_bundle_wav left open, in one line, such as samples of 12 bits in 16; "" where nothing.
 * It lives until the same thread's next attn_bundle_wav. */
ATTN_API const char* attn_last_notes(void);
/* "float32", and the bytes of one element; NULL and 0 for what is no attn_dtype. */
ATTN_API const char* attn_dtype_name(attn_dtype dtype);
ATTN_API size_t attn_dtype_bytes(attn_dtype dtype);

/* ---- Bundles ---- */

/* Read the folder NAME.attn: its manifest is held against the schema, every file against its size and sha256. A file that this user has read
   before, and that nobody has touched since, is not read again: $XDG_CACHE_HOME/attn-runtime/known, or that in ~/.cache, remembers. */
ATTN_API int attn_bundle_open(const char* path, attn_bundle** bundle);
/* The same, reading every file whatever is remembered, as attn_bundle_open does where ATTN_PARANOID=1 is in the environment. */
ATTN_API int attn_bundle_open_paranoid(const char* path, attn_bundle** bundle);
ATTN_API void attn_bundle_close(attn_bundle* bundle);
ATTN_API const char* attn_bundle_name(const attn_bundle* bundle);
ATTN_API size_t attn_bundle_graph_count(const attn_bundle* bundle);
/* NULL beyond the last. */
ATTN_API const char* attn_bundle_graph_name(const attn_bundle* bundle, size_t index);
/* The manifest, and an asset ("labels", "image", ...), as the bundle's own JSON text; NULL where there is no such asset. */
ATTN_API const char* attn_bundle_manifest(const attn_bundle* bundle);
ATTN_API int attn_bundle_asset(const attn_bundle* bundle, const char* name, const char** json);
/* The classes' names by index, of assets/labels.json; `count` 0 where the bundle has none. */
ATTN_API int attn_bundle_labels(const attn_bundle* bundle, const char* const** labels, size_t* count);

/* ---- Sessions ---- */

/* As many threads as there are cores that no other process wants; calls look every quarter of a second. The graph is opened with all threads,
 * and with fewer once these are wanted: by a thread of the library, beside the calls, and until the session is closed, weights and all.
 * Answers are the same. A bound call allocates when it looks, and when it first takes what was opened. On the CPU alone. */
#define ATTN_THREADS_AUTO (-1)

typedef struct attn_open_options {
  size_t size;           /* sizeof(attn_open_options); ATTN_OPEN_OPTIONS_INIT sets it */
  const char* device;    /* "cpu", "cuda", "cuda:1"; "auto" or NULL takes a GPU that works, else the CPU. Named is meant */
  const char* backend;   /* "ort", "openvino", "trt"; NULL takes the best for the device, and attn_session_choice tells which */
  const char* graph;     /* which graph of the bundle; may be NULL when there is one */
  const char* precision; /* "fp32", "fp16", ...; NULL takes fp32, or the first where there is none */
  int threads;           /* that one node may use on the CPU, up to 1024; 0 takes the cores that are online and allowed, as far as
                            the CPU quota of the control group goes; ATTN_THREADS_AUTO */
  int low_memory;        /* on the CPU, read weights where they lie in the mapped files, which sessions share */
  const char* cache;     /* folder for what an engine library makes of the graph on this machine: TensorRT engines inside ONNX Runtime, on the CPU
                            the graph as ONNX Runtime optimised it, with its weights twice; NULL keeps it in memory */
  const char* library;   /* libonnxruntime to load; NULL: $ATTN_ONNXRUNTIME, then the loader's path, then beside this library */
  int stop_spinning;     /* on the CPU, threads sleep once a call is over; else they wait busily for the next one for some 40 ms, which makes it
                            faster, and others on the same cores slower. A generator's, whose graphs take turns, always sleep */
} attn_open_options;
#define ATTN_OPEN_OPTIONS_INIT {sizeof(attn_open_options), NULL, NULL, NULL, NULL, 0, 0, NULL, NULL, 0}

/* `options` may be NULL. */
ATTN_API int attn_session_open(const attn_bundle* bundle, const attn_open_options* options, attn_session** session);
ATTN_API void attn_session_close(attn_session* session);
ATTN_API const char* attn_session_backend(const attn_session* session);
ATTN_API const char* attn_session_device(const attn_session* session);
ATTN_API const char* attn_session_precision(const attn_session* session);
/* Which backend, device and precision, and whether "auto" left a GPU unused; one line. */
ATTN_API const char* attn_session_choice(const attn_session* session);
/* Why none of the other backends and devices, one line; "" where there is none. */
ATTN_API const char* attn_session_passed_over(const attn_session* session);
ATTN_API size_t attn_session_input_count(const attn_session* session);
ATTN_API size_t attn_session_output_count(const attn_session* session);
/* NULL beyond the last. */
ATTN_API const attn_spec* attn_session_input(const attn_session* session, size_t index);
ATTN_API const attn_spec* attn_session_output(const attn_session* session, size_t index);

/* Run on buffers of the caller, of any sizes in range. `inputs` holds every input, in any order. `outputs` names those that are
 * wanted: `data` and `bytes` say where to and how much room there is; dtype, rank and shape are filled in. Where there
 * is too little room, ATTN_ERROR_INPUT is returned with the shape filled in. May be called from many threads at once. */
ATTN_API int attn_session_run(attn_session* session, const attn_tensor* inputs, size_t input_count, attn_tensor* outputs,
                              size_t output_count);

/* A call on fixed shapes and fixed buffers, to be run many times. `sizes` gives dims, what is left out takes its opt; a given input's
 * shape counts as well. `inputs` and `outputs` are buffers of yours for some names (all their members count), the binding
 * makes the others, zeroed and aligned to 64 bytes. One buffer may be the output of this binding and the input of that one. */
ATTN_API int attn_session_bind(attn_session* session, const attn_size* sizes, size_t size_count, const attn_tensor* inputs,
                               size_t input_count, const attn_tensor* outputs, size_t output_count, attn_binding** binding);
ATTN_API void attn_binding_close(attn_binding* binding);
/* The buffer of a name, to be written before a run and read behind it. */
ATTN_API int attn_binding_input(const attn_binding* binding, const char* name, attn_tensor* tensor);
ATTN_API int attn_binding_output(const attn_binding* binding, const char* name, attn_tensor* tensor);
ATTN_API int attn_binding_run(attn_binding* binding);

/* ---- The proof ---- */

/* One golden case of one output, or (output NULL) one generated case, held against PyTorch's answer. */
typedef struct attn_check {
  const char* graph;
  const char* test_case;
  const char* output;
  double max_error;     /* max|got - expected|; infinity where they can't be compared */
  double max_reference; /* max|expected|; all three are of what is no fill value, and a fill that differs is a problem */
  double limit;         /* of max_error: atol + rtol * max|expected|, as the manifest has it */
  int passed;
  const char* problem; /* "" where there is none to tell */
} attn_check;

/* Replay every golden case of every graph (or of options->graph), and what a generator writes. With options->cache, what is kept there is what
 * is replayed. `on_check` may be NULL; it is called after each. ATTN_ERROR_PARITY unless all passed; ATTN_ERROR_BUNDLE where there is nothing
 * to hold it against. */
ATTN_API int attn_bundle_verify(const attn_bundle* bundle, const attn_open_options* options,
                                void (*on_check)(const attn_check* check, void* user), void* user);

/* ---- Generation ---- */

/* A choice of what answers begin with: {"language", "de"}. */
typedef struct attn_choice {
  const char* name;
  const char* value;
} attn_choice;

typedef struct attn_generate_options {
  size_t size; /* sizeof(attn_generate_options) */
  int64_t max_length;    /* most tokens of an answer; -1: the bundle's default, or what the model has room for */
  int64_t beams;         /* 1: the likeliest token each time; -1: the bundle's default, or 1 */
  double length_penalty; /* of beams: sums of log probabilities are divided by length to this power; -1: the bundle's default, or 1 */
  int early_stop;        /* of beams: end when as many answers are complete as there are beams; -1: the bundle's default, or not */
  int sample;            /* draw tokens, with the four below; one beam alone. -1: the bundle's default, with `seed`, or not */
  double temperature;    /* above 0 */
  int64_t top_k;         /* 0: all */
  double top_p;          /* 0 < p <= 1; 1: all, as without it */
  uint64_t seed;         /* below 2^63; row i draws from the stream of seed + i, the same numbers as attn-run --seed */
  const int64_t* stop;   /* tokens that end an answer; NULL: the model's own */
  size_t stop_count;
  int scores; /* compute attn_result_score for one beam as well */
  /* Called with each token as it is chosen, the stop token included; other than 0 ends the generation, which is no error.
   * With one beam alone. To generate with the same generator in it is ATTN_ERROR_USAGE; it must not close it. */
  int (*on_token)(size_t row, int64_t token, void* user);
  void* user; /* of on_token and on_text */
  /* The same with what the text of a row grows by: `bytes` of UTF-8, a 0 behind them. What a later token may change is held back, so the
   * pieces add up to attn_result_text; what is left is told at the end, where its answer counts no more. Needs the bundle's tokenizer. */
  int (*on_text)(size_t row, const char* piece, size_t bytes, void* user);
  int64_t min_length;         /* an answer has so many tokens before a stop token is chosen; -1: the bundle's default, or 0 */
  double repetition_penalty;  /* above 1, tokens that the row has become less likely; 0: the bundle's default, or 1 for no penalty */
  int64_t no_repeat_ngram;    /* no so many tokens in a row come twice; 0: no such rule, -1: the bundle's default, or 0 */
  const attn_choice* choices; /* what answers begin with, by the names of the model's choices; NULL: the model's own */
  size_t choice_count;
  int64_t lookup; /* guess up to so many tokens ahead, by what stands in prompt, source and answer: the same answer, sooner where it repeats
                     them. Of a bundle with the graph `extend`, one beam, nothing drawn; 0: no guesses */
} attn_generate_options;
#define ATTN_GENERATE_OPTIONS_INIT \
  {sizeof(attn_generate_options), -1, -1, -1.0, -1, -1, 1.0, 0, 1.0, 0, NULL, 0, 0, NULL, NULL, NULL, -1, 0.0, -1, NULL, 0, 0}

/* Open the generator of a bundle: all of its graphs on one device, each kept in options->cache. options->graph must be NULL. */
ATTN_API int attn_generator_open(const attn_bundle* bundle, const attn_open_options* options, attn_generator** generator);
ATTN_API void attn_generator_close(attn_generator* generator);
ATTN_API const char* attn_generator_choice(const attn_generator* generator);
ATTN_API const char* attn_generator_passed_over(const attn_generator* generator);
ATTN_API size_t attn_generator_input_count(const attn_generator* generator);
ATTN_API const attn_spec* attn_generator_input(const attn_generator* generator, size_t index);
/* Most tokens of a row, prompt included; tokens that it knows. */
ATTN_API int64_t attn_generator_max_length(const attn_generator* generator);
ATTN_API int64_t attn_generator_vocabulary(const attn_generator* generator);
/* Answers for a batch of prompts: the encoder's inputs, or `tokens` int64 [rows, prompt] and `tokens_mask` bool, padded at the end. */
ATTN_API int attn_generator_generate(attn_generator* generator, const attn_tensor* inputs, size_t input_count,
                                     const attn_generate_options* options, attn_result** result);
/* The same from texts in UTF-8, through the tokenizer of the bundle; one row a text. */
ATTN_API int attn_generator_generate_text(attn_generator* generator, const char* const* texts, size_t count,
                                          const attn_generate_options* options, attn_result** result);
ATTN_API void attn_result_close(attn_result* result);
ATTN_API size_t attn_result_rows(const attn_result* result);
/* The tokens of a row, without prompt and begin, the stop token not included (its word is in the text, unless it is a special
 * token of the tokenizer); NULL beyond the last row. */
ATTN_API const int64_t* attn_result_tokens(const attn_result* result, size_t row, size_t* length);
/* Sum of log probabilities over length to the power of length_penalty, 0 with max_length 0; NaN where it was not asked for, and of
 * a text that was not begun when on_token ended the generation. */
ATTN_API double attn_result_score(const attn_result* result, size_t row);
/* 1: a stop token ended it; 0: the limit or on_token did. */
ATTN_API int attn_result_stopped(const attn_result* result, size_t row);
/* With options->lookup, how many tokens were guessed and fed, and how many of them were written, of all rows; 0 without. */
ATTN_API size_t attn_result_drafted(const attn_result* result);
ATTN_API size_t attn_result_accepted(const attn_result* result);

/* Why a row ended. */
typedef enum attn_stopped {
  ATTN_STOPPED_STOP = 0,      /* by a stop token */
  ATTN_STOPPED_LENGTH = 1,    /* it is as long as it may be */
  ATTN_STOPPED_CANCELLED = 2, /* by on_token or attn_request_cancel */
  ATTN_STOPPED_DEADLINE = 3   /* it is a request's, which had no more time */
} attn_stopped;
ATTN_API attn_stopped attn_result_why(const attn_result* result, size_t row);
/* The text of a row; "" where the bundle has no tokenizer. */
ATTN_API const char* attn_result_text(const attn_result* result, size_t row);
/* What was done to the prompts, such as words that the tokenizer does not know, one line each; NULL beyond the last. */
ATTN_API const char* attn_result_note(const attn_result* result, size_t index);

/* ---- Requests that come and go ---- */

/* One prompt that is answered beside others, each of which comes and goes by itself: a row that ends makes room for the next one at once. */
typedef struct attn_request attn_request;
typedef struct attn_request_limits {
  size_t size;     /* sizeof(attn_request_limits) */
  size_t rows;     /* requests that are written at once, as far as the graphs take so many rows */
  size_t waiting;  /* how many more there may be, which wait in the order in which they came; a further one is refused */
  uint64_t memory; /* bytes of the buffers that they share, and half as much again while these grow; 0: as `rows` sets them */
} attn_request_limits;
#define ATTN_REQUEST_LIMITS_INIT {sizeof(attn_request_limits), 64, 1024, 0}
/* Before the first is submitted. */
ATTN_API int attn_generator_limit_requests(attn_generator* generator, const attn_request_limits* limits);
/* Returns at once; a thread of the library writes all requests, and takes turns with calls of attn_generator_generate. The inputs are those of
 * one row, and copied. `options` as for attn_generator_generate, with one beam and without on_text; on_token is called by that thread, which
 * waits for it, until attn_request_close. `deadline` seconds from now on the request ends with the tokens that there are; 0: no such end.
 * The tokens are those that attn_generator_generate gives for this prompt alone. */
ATTN_API int attn_generator_submit(attn_generator* generator, const attn_tensor* inputs, size_t input_count,
                                   const attn_generate_options* options, double deadline, attn_request** request);
ATTN_API int attn_generator_submit_text(attn_generator* generator, const char* text, const attn_generate_options* options, double deadline,
                                        attn_request** request);
#define ATTN_NO_MORE_TOKENS (-1)
#define ATTN_NO_TOKEN_YET (-2)
/* The next token, the stop token included; waits for it for up to `seconds`, below 0 for as long as it takes. `*token` is
 * ATTN_NO_MORE_TOKENS behind the last one, and ATTN_NO_TOKEN_YET where the time was over before. What ended the request, as an error of its
 * graph or that its generator was closed, is returned behind the tokens that there are. */
ATTN_API int attn_request_next(attn_request* request, double seconds, int64_t* token);
/* The answer, of one row, once the request is over; `*result` is NULL where that takes longer than `seconds`, as above. */
ATTN_API int attn_request_result(attn_request* request, double seconds, attn_result** result);
/* End it with the tokens that there are. From any thread, and from on_token. */
ATTN_API void attn_request_cancel(attn_request* request);
/* Cancels it where it is not over, and waits for on_token to return. It may outlive its generator. */
ATTN_API void attn_request_close(attn_request* request);

/* ---- From files to tensors, as the bundle's assets say ---- */

/* Pixels uint8 [height, width, channels] -> float32 [1, channels', height', width'] of assets/image.json at `tensor->data`. dtype, rank, shape
 * and name are filled in; with `data` NULL, `bytes` too, and nothing else is done. Any size, 1, 3 or 4 channels. */
ATTN_API int attn_bundle_image(const attn_bundle* bundle, const uint8_t* pixels, size_t height, size_t width, size_t channels,
                               attn_tensor* tensor);
/* Samples float32 [frames, channels] at `rate` Hz -> float32 [1, samples] of assets/audio.json: averaged, resampled, cut or padded. */
ATTN_API int attn_bundle_audio(const attn_bundle* bundle, const float* samples, size_t frames, size_t channels, size_t rate,
                               attn_tensor* tensor);
/* A wav file: PCM of 8, 16, 24, 32 bits or float. /dev/stdin and /dev/fd/N are read until their writer closes them, and kept from a call
 * with `data` NULL to the next one. attn_last_notes tells what is peculiar. */
ATTN_API int attn_bundle_wav(const attn_bundle* bundle, const char* path, attn_tensor* tensor);
/* Texts in UTF-8 -> int64 [count, length] and bool [count, length], padded to the longest, as assets/text.json says. */
ATTN_API int attn_bundle_text(const attn_bundle* bundle, const char* const* texts, size_t count, attn_tensor* tokens,
                              attn_tensor* mask);
/* The same for models of pairs, and for those that take more than a mask, or none: `seconds` is NULL or has the second text of each, and
 * `types`, int64 [count, length], tells which text a token is of. `mask` and `types` may be NULL; what the model does not take is left without
 * a name, of rank 0. */
ATTN_API int attn_bundle_text_pairs(const attn_bundle* bundle, const char* const* texts, const char* const* seconds, size_t count,
                                    attn_tensor* tokens, attn_tensor* mask, attn_tensor* types);

/* ---- Recordings to texts ---- */

/* Of a session whose bundle has assets/ctc.json: the text of a recording of any length, read in windows that overlap. Samples as for
 * attn_bundle_audio. `*text` is UTF-8, and lives until the same thread's next call of these four. */
ATTN_API int attn_session_transcribe(attn_session* session, const float* samples, size_t frames, size_t channels, size_t rate,
                                     const char** text);
/* A wav file, as for attn_bundle_wav; a stream is read once. */
ATTN_API int attn_session_transcribe_wav(attn_session* session, const char* path, const char** text);
/* The same of a generator that hears (Whisper and its kin): windows are read one after the other, and are the rows of options->on_token.
 * `options` may be NULL; on_text is refused, since a text is made of all windows. attn_last_notes names those without a stop token. */
ATTN_API int attn_generator_transcribe(attn_generator* generator, const float* samples, size_t frames, size_t channels, size_t rate,
                                       const attn_generate_options* options, const char** text);
ATTN_API int attn_generator_transcribe_wav(attn_generator* generator, const char* path, const attn_generate_options* options,
                                           const char** text);

#ifdef __cplusplus
}
#endif

#endif /* ATTN_RUNTIME_H */
