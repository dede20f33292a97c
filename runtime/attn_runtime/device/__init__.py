"""The memory side of running on a GPU, behind one small interface, so that everything but the driver calls runs on a CPU.

interface    what a device can do: memory, copies, streams, events, graphs
cuda_device  that, by cuda-python; the only file here that a CPU can't execute
blocks       device memory that is lent and comes back
buffers      memory that grows to the largest call; page-locked numpy arrays
dlpack       tensors in and out through DLPack, read and written with ctypes
tensor       a tensor on a device: borrowed from the caller, or owned and handed out
pool         a bounded number of things, one thread at a time each

Memory: who allocates frees. A tensor of the caller is read during the call and let go of before it returns; a tensor that
is handed out owns its memory until the last reference, DLPack's included, is gone, whether or not the session is closed.
Threads: a Device may be used by many threads; each calls `use` first, since CUDA keeps the current device per thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy

if TYPE_CHECKING:
    from .buffers import Buffer, host_view, pinned_array, size_of
    from .cuda_device import CudaDevice
    from .gpus import compute_capability, driver_version, find_gpus
    from .input_arrays import as_array, check_bool, is_masked
    from .interface import ALIGNMENT, DEFAULT_STREAM, DLPACK_CPU, DLPACK_CUDA, Device
    from .jetpack import Jetpack, host_root, read_jetpack
    from .memory_pool import Block, Blocks
    from .object_pool import Closable, Pool
    from .tensor import DeviceArray, DeviceTensor, Intake

__all__ = [
    "ALIGNMENT",
    "DEFAULT_STREAM",
    "DLPACK_CPU",
    "DLPACK_CUDA",
    "Block",
    "Blocks",
    "Buffer",
    "Closable",
    "CudaDevice",
    "Device",
    "DeviceArray",
    "DeviceTensor",
    "Intake",
    "Jetpack",
    "Pool",
    "as_array",
    "check_bool",
    "compute_capability",
    "cuda_device",
    "driver_version",
    "find_gpus",
    "gpus",
    "host_root",
    "host_view",
    "is_masked",
    "pinned_array",
    "read_jetpack",
    "size_of",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "buffers": ["Buffer", "host_view", "pinned_array", "size_of"],
        "cuda_device": ["CudaDevice"],
        "gpus": ["compute_capability", "driver_version", "find_gpus"],
        "input_arrays": ["as_array", "check_bool", "is_masked"],
        "interface": ["ALIGNMENT", "DEFAULT_STREAM", "DLPACK_CPU", "DLPACK_CUDA", "Device"],
        "jetpack": ["Jetpack", "host_root", "read_jetpack"],
        "memory_pool": ["Block", "Blocks"],
        "object_pool": ["Closable", "Pool"],
        "tensor": ["DeviceArray", "DeviceTensor", "Intake"],
    },
)
