// TensorRT as this process has it: our plugin, and the library that the plugin has loaded. Both stay loaded until the process ends.
#pragma once

#include <string>

#include "trt/plugin/plugin.h"

namespace attn {

struct TrtLibrary {
  // The plugin is $ATTN_TRT_PLUGIN, else beside this library, else what the loader finds; TensorRT $ATTN_TENSORRT, else what the loader finds.
  // Ask why_no_gpu first. Raises backend_error.
  static const TrtLibrary& load();

  const attn_trt_plugin* plugin;
  attn_trt_library* library;
  std::string flavour;  // "tensorrt", "rtx"
  std::string version;  // "10.3.0.30"; three numbers where the library does not tell the fourth
};

}  // namespace attn
