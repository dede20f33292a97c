// OpenVINO by its C interface, loaded while the program runs and never linked. What is called of it is declared here, so that building takes
// no headers; tests/cpp holds the declarations against those that OpenVINO comes with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "util/error.h"
#include "util/forks.h"

// OpenVINO's own names of what it hands out.
struct ov_core;
struct ov_model;
struct ov_compiled_model;
struct ov_infer_request;
struct ov_tensor;
struct ov_output_const_port;

namespace attn {

// Laid out as ov_version_t, ov_property_t, ov_shape_t, ov_dimension_t and ov_partial_shape_t.
struct OvVersion {
  const char *build, *description;
};
struct OvProperty {
  const char* key;
  const void* value;  // a text, of those that are set here
};
struct OvShape {
  int64_t rank;
  int64_t* dims;
};
struct OvDim {
  int64_t min, max;
};
struct OvPartialShape {
  OvDim rank;
  OvDim* dims;
};

constexpr int kOvRefused = -14;  // INVALID_C_PARAM

// Each call: what it returns (an int is ov_status_e, 0 where all is well), its name without ov_, what it takes.
#define ATTN_OV_CALLS(call)                                                                                       \
  call(int, get_openvino_version, (OvVersion*))                                                                   \
  call(void, version_free, (OvVersion*))                                                                          \
  call(const char*, get_last_err_msg, ())                                                                         \
  call(void, free, (const char*))                                                                                 \
  call(int, core_create, (ov_core**))                                                                             \
  call(int, core_set_properties, (const ov_core*, const char*, size_t, const OvProperty*))                        \
  call(int, core_get_property, (const ov_core*, const char*, const char*, char**))                                \
  call(int, core_read_model, (const ov_core*, const char*, const char*, ov_model**))                              \
  call(int, core_compile_model_props,                                                                             \
       (const ov_core*, const ov_model*, const char*, size_t, const OvProperty*, ov_compiled_model**))            \
  call(void, model_free, (ov_model*))                                                                             \
  call(bool, model_is_dynamic, (const ov_model*))                                                                 \
  call(int, model_reshape, (const ov_model*, const char**, const OvPartialShape*, size_t))                        \
  call(void, compiled_model_free, (ov_compiled_model*))                                                           \
  call(int, compiled_model_input_by_name, (const ov_compiled_model*, const char*, ov_output_const_port**))        \
  call(int, compiled_model_output_by_name, (const ov_compiled_model*, const char*, ov_output_const_port**))       \
  call(int, compiled_model_create_infer_request, (const ov_compiled_model*, ov_infer_request**))                  \
  call(void, output_const_port_free, (ov_output_const_port*))                                                     \
  call(int, infer_request_set_tensor_by_const_port, (ov_infer_request*, const ov_output_const_port*, const ov_tensor*)) \
  call(int, infer_request_get_tensor_by_const_port, (const ov_infer_request*, const ov_output_const_port*, ov_tensor**)) \
  call(int, infer_request_infer, (ov_infer_request*))                                                             \
  call(void, infer_request_free, (ov_infer_request*))                                                             \
  call(int, tensor_create_from_host_ptr, (unsigned, OvShape, void*, ov_tensor**))                                 \
  call(int, tensor_get_shape, (const ov_tensor*, OvShape*))                                                       \
  call(int, tensor_get_byte_size, (const ov_tensor*, size_t*))                                                    \
  call(int, tensor_data, (const ov_tensor*, void**))                                                              \
  call(void, tensor_free, (ov_tensor*))                                                                           \
  call(int, shape_free, (OvShape*))

struct OvApi {
#define ATTN_OV_DECLARE(result, name, arguments) result(*name) arguments = nullptr;
  ATTN_OV_CALLS(ATTN_OV_DECLARE)
#undef ATTN_OV_DECLARE
};

template <typename T>
using OvHeld = std::unique_ptr<T, void (*)(T*)>;

// A loaded library. It stays loaded until the process ends: its threads may outlive everything of ours.
class OvLibrary {
 public:
  // $ATTN_OPENVINO, else what the loader finds, else beside this library. Raises backend_error.
  static const OvLibrary& load();

  OvApi api;
  std::string version;         // "2026.4.1"
  std::filesystem::path path;  // of the file that was loaded

  // OpenVINO's Core, one in a process. Raises backend_error in a child of a fork: its threads are the parent's, and it would hang.
  const ov_core* core(const std::string& where) const;

  // What went wrong, in one line; "" where nothing did.
  std::string failure(int status) const;

 private:
  OvLibrary() = default;
  friend class OvLibraries;
};

// The end of a message about what this backend does not do.
constexpr char kOrtSays[] = "; take backend ort";

}  // namespace attn
