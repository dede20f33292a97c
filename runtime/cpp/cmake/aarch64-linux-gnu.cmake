# Cross-build for 64-bit Arm Linux (Jetson) with Debian's compiler: apt-get install g++-aarch64-linux-gnu.
# Tests run under qemu where runtime/cpp/scripts/test_aarch64.sh made a folder with what ONNX Runtime reads at its start:
#   ATTN_AARCH64_ROOT=... cmake --preset aarch64
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

# Headers and libraries of the target alone, programs of this machine.
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)

if(DEFINED ENV{ATTN_AARCH64_ROOT})
  set(CMAKE_CROSSCOMPILING_EMULATOR "qemu-aarch64-static;-L;$ENV{ATTN_AARCH64_ROOT}")
endif()
