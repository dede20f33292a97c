# Target attn_tensorrt_headers: the folders of NvInfer.h and of cuda_runtime_api.h, which it includes. The library itself is never linked, but
# loaded when it is used. -DNVINFER_ROOT, CMAKE_PREFIX_PATH, the system; CUDA's also from -DCUDAToolkit_ROOT and /usr/local/cuda.
find_path(TensorRTHeaders_NVINFER NvInfer.h HINTS ${NVINFER_ROOT} $ENV{NVINFER_ROOT} PATHS /opt/tensorrt /usr/local/tensorrt
          PATH_SUFFIXES include include/${CMAKE_SYSTEM_PROCESSOR}-linux-gnu)
find_path(TensorRTHeaders_CUDA cuda_runtime_api.h
          HINTS ${CUDAToolkit_ROOT} $ENV{CUDAToolkit_ROOT} $ENV{CUDA_PATH} PATHS /usr/local/cuda
          PATH_SUFFIXES include targets/${CMAKE_SYSTEM_PROCESSOR}-linux/include)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(TensorRTHeaders REQUIRED_VARS TensorRTHeaders_NVINFER TensorRTHeaders_CUDA)
if(TensorRTHeaders_FOUND AND NOT TARGET attn_tensorrt_headers)
  add_library(attn_tensorrt_headers INTERFACE)
  target_include_directories(attn_tensorrt_headers SYSTEM INTERFACE ${TensorRTHeaders_NVINFER} ${TensorRTHeaders_CUDA})
endif()
