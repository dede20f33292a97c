"""Which NVIDIA GPUs the driver shows, asked of the driver itself: no CUDA toolkit and no engine library needed."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

from ..lazy import dataclass


@dataclass(frozen=True)
class Gpus:
    """`names` by device number; when there are none, `problem` says why in one line."""

    names: tuple[str, ...] = ()
    problem: str | None = None


_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
# CUdevice_attribute: COMPUTE_CAPABILITY_MAJOR and _MINOR.
_CAPABILITY = (75, 76)


@cache
def _driver() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(_LIBRARY)
    except OSError:
        return None


@cache
def find_gpus() -> Gpus:
    """The GPUs this process can use (CUDA_VISIBLE_DEVICES counts). Asked once per process."""
    driver = _driver()
    if driver is None:
        return Gpus(problem=f"no NVIDIA driver on this machine: {_LIBRARY} is not found")
    status = driver.cuInit(0)
    if status:
        return Gpus(problem=f"the NVIDIA driver finds no usable GPU (cuInit answers {status})")
    count = ctypes.c_int()
    status = driver.cuDeviceGetCount(ctypes.byref(count))
    if status or not count.value:
        return Gpus(problem="the NVIDIA driver shows no GPU; is CUDA_VISIBLE_DEVICES set to none?")
    names = []
    for number in range(count.value):
        buffer = ctypes.create_string_buffer(256)
        names.append(buffer.value.decode() if not driver.cuDeviceGetName(buffer, 256, number) else "unnamed GPU")
    return Gpus(tuple(names))


@cache
def compute_capability(number: int = 0) -> str | None:
    """What GPU `number` can compute, as in "8.9"; None where there is no such GPU or the driver does not tell."""
    driver = _driver()
    if driver is None or number >= len(find_gpus().names):
        return None
    device, parts = ctypes.c_int(), []
    if driver.cuDeviceGet(ctypes.byref(device), number):
        return None
    for attribute in _CAPABILITY:
        value = ctypes.c_int()
        if driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device):
            return None
        parts.append(str(value.value))
    return ".".join(parts)


def bus_address(number: int) -> str | None:
    """Where GPU `number` sits, as in "0000:01:00.0", which is what other libraries know it by; None as above."""
    driver = _driver()
    if driver is None or number >= len(find_gpus().names):
        return None
    device, text = ctypes.c_int(), ctypes.create_string_buffer(32)
    if driver.cuDeviceGet(ctypes.byref(device), number) or driver.cuDeviceGetPCIBusId(text, len(text), device):
        return None
    return text.value.decode()


def driver_version() -> str | None:
    """The newest CUDA version that the driver can run, as in "13.0"; None without a driver.

    Answered without a GPU too, and by a driver whose cuInit fails.
    """
    driver, version = _driver(), ctypes.c_int()
    if driver is None or driver.cuDriverGetVersion(ctypes.byref(version)):
        return None
    return f"{version.value // 1000}.{version.value % 1000 // 10}"


def why_not(device: str) -> str | None:
    """None when `device` ("cuda" or "cuda:N") is there, else the reason."""
    gpus = find_gpus()
    if gpus.problem:
        return gpus.problem
    number = device_number(device)
    if number >= len(gpus.names):
        return f"there is no GPU {number}; this machine has {', '.join(f'{i} ({n})' for i, n in enumerate(gpus.names))}"
    return None


def device_number(device: str) -> int:
    """1 for "cuda:1"; 0 for "cuda"."""
    return int(device.partition(":")[2] or 0)
