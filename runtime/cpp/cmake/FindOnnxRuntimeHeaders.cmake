# Target attn_onnxruntime_headers: the folder of onnxruntime_c_api.h. The library itself is never linked, but loaded when it is
# used. A user's own install comes first: -DONNXRUNTIME_ROOT, CMAKE_PREFIX_PATH, the system; then what
# runtime/cpp/scripts/fetch_onnxruntime.sh has fetched.
get_filename_component(_fetched ${CMAKE_CURRENT_LIST_DIR}/../../../build/onnxruntime ABSOLUTE)
find_path(OnnxRuntimeHeaders_DIR_WITH_C_API onnxruntime_c_api.h
          HINTS ${ONNXRUNTIME_ROOT} $ENV{ONNXRUNTIME_ROOT}
          PATH_SUFFIXES include include/onnxruntime include/onnxruntime/core/session onnxruntime)
find_path(OnnxRuntimeHeaders_DIR_WITH_C_API onnxruntime_c_api.h
          PATHS ${_fetched} PATH_SUFFIXES include NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(OnnxRuntimeHeaders REQUIRED_VARS OnnxRuntimeHeaders_DIR_WITH_C_API)
if(OnnxRuntimeHeaders_FOUND AND NOT TARGET attn_onnxruntime_headers)
  add_library(attn_onnxruntime_headers INTERFACE)
  # SYSTEM: its warnings are not ours.
  target_include_directories(attn_onnxruntime_headers SYSTEM INTERFACE ${OnnxRuntimeHeaders_DIR_WITH_C_API})
endif()
