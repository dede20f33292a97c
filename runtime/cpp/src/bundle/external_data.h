// Which other files an ONNX file makes a runtime read: ONNX Runtime up to 1.23 opens /etc/passwd as gladly as model.onnx.data. The Python
// twin is attn_runtime/onnx_file/external_data.py.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace attn {

// The files that `file` names as holding its tensors, each an existing file inside the folder of `file`, links followed. Raises
// bundle_error, opened by `where`, for any other path and for what is no ONNX file.
std::vector<std::filesystem::path> check_external_data(const std::filesystem::path& file, const std::string& where);

}  // namespace attn
