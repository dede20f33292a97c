// Which NVIDIA GPUs the driver shows, asked of the driver itself. The Python twin is attn_runtime/device/gpus.py.
#pragma once

#include <optional>
#include <string>

namespace attn {

// None when `device` ("cuda" or "cuda:N") is there, else the reason in one line. The driver is asked once per process.
std::optional<std::string> why_no_gpu(const std::string& device);

// 1 for "cuda:1"; 0 for "cuda".
int gpu_number(const std::string& device);

// Where GPU `number` sits, as in "0000:01:00.0", which is what other libraries know it by; "" where the driver does not tell.
std::string gpu_bus_address(int number);

// What GPU `number` can compute, as in "8.9"; "" where there is no such GPU or the driver does not tell.
std::string gpu_compute_capability(int number);

}  // namespace attn
