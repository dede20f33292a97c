/* Between libattn_runtime and its plugin libattn_runtime_trt: TensorRT's calls as plain C, so that the library itself is compiled without
 * TensorRT's headers. Each function is one or two calls of TensorRT; what needs thought lies in the library. The Python twin
 * is attn_runtime/trt/run/executor.py.
 *
 * A function that can fail answers 0, or else has written why, in one line, to `why` (ATTN_TRT_WHY bytes). Tensors are numbered as
 * the engine numbers them. Contexts may be made from one thread at a time; a context belongs to one thread and one stream at a time. */
#ifndef ATTN_TRT_PLUGIN_H
#define ATTN_TRT_PLUGIN_H

#include <attn/runtime.h>

/* Both are built together: a plugin of another number is refused. */
#define ATTN_TRT_PLUGIN_ABI 1
#define ATTN_TRT_PLUGIN_SYMBOL "attn_trt_plugin_table"
#define ATTN_TRT_WHY 1024

#ifdef __cplusplus
extern "C" {
#endif

typedef struct attn_trt_library attn_trt_library;
typedef struct attn_trt_engine attn_trt_engine;
typedef struct attn_trt_context attn_trt_context;

typedef struct attn_trt_shape {
  int32_t rank;
  int64_t sizes[ATTN_MAX_RANK]; /* -1: varies, or follows from values */
} attn_trt_shape;

typedef struct attn_trt_tensor {
  const char* name;       /* the engine's */
  int32_t dtype;          /* attn_dtype; 0 for one that sessions do not have */
  const char* dtype_name; /* TensorRT's: "FLOAT" */
  int32_t is_input;
  int32_t on_host; /* its values lie in host memory: they decide on shapes */
  attn_trt_shape shape;
} attn_trt_tensor;

/* Device memory of at least `bytes` for an output whose size is known only when it was computed; NULL where there is none. */
typedef void* (*attn_trt_grow)(void* user, uint64_t bytes);

typedef struct attn_trt_plugin {
  int32_t abi;         /* ATTN_TRT_PLUGIN_ABI; the first member for good */
  const char* flavour; /* "tensorrt" or "rtx": whose headers it was compiled with */
  int32_t headers[3];  /* their version */

  /* `path` NULL: the name that the flavour's library has. Before anything of the library's tables is touched, its version is compared with
   * the headers'. Loaded for good. `version` is major, minor, patch, build; build -1 where the library does not tell. */
  int (*open)(const char* path, attn_trt_library** library, int32_t version[4], char* why);

  int (*load)(attn_trt_library* library, const void* plan, size_t bytes, attn_trt_engine** engine, char* why);
  void (*unload)(attn_trt_engine* engine); /* after its last context */
  int32_t (*tensor_count)(const attn_trt_engine* engine);
  int (*tensor)(const attn_trt_engine* engine, int32_t tensor, attn_trt_tensor* found, char* why);
  int32_t (*profile_count)(const attn_trt_engine* engine);
  /* `which` 0 min, 1 opt, 2 max. Of an input. */
  int (*profile_shape)(const attn_trt_engine* engine, int32_t profile, int32_t tensor, int32_t which, attn_trt_shape* found, char* why);
  uint64_t (*scratch_bytes)(const attn_trt_engine* engine); /* of device memory that a context works in */

  int (*open_context)(attn_trt_engine* engine, int32_t profile, void* stream, void* scratch, attn_trt_context** context, char* why);
  void (*close_context)(attn_trt_context* context);
  int (*set_shape)(attn_trt_context* context, int32_t tensor, const attn_trt_shape* shape, char* why);
  int (*set_address)(attn_trt_context* context, int32_t tensor, void* address, char* why);
  int (*set_growing)(attn_trt_context* context, int32_t tensor, attn_trt_grow grow, void* user, char* why);
  int (*infer)(attn_trt_context* context, char* why); /* of outputs, from the inputs' shapes and the values on the host */
  int (*shape)(const attn_trt_context* context, int32_t tensor, attn_trt_shape* found, char* why);
  int (*enqueue)(attn_trt_context* context, void* stream, char* why);
  int (*grown_shape)(const attn_trt_context* context, int32_t tensor, attn_trt_shape* found, char* why); /* after enqueue */
} attn_trt_plugin;

/* The one symbol of a plugin. */
ATTN_API const attn_trt_plugin* attn_trt_plugin_table(void);

#ifdef __cplusplus
}
#endif

#endif /* ATTN_TRT_PLUGIN_H */
