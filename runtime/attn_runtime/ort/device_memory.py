"""Memory on the GPU beside ONNX Runtime's own: arrays for callers who make inputs and use outputs there.

By cuda-python, which onnxruntime-gpu does not bring. Both libraries use the device's primary context, so that an address of
one is an address of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..device import Blocks, Device, DeviceArray, cuda_device, pinned_array
from ..errors import BackendError
from ..interface import Array


class DeviceMemory:
    """Arrays on one device. May be used by many threads; arrays stay valid after `close`."""

    def __init__(self, device: Device) -> None:
        self._device, self._blocks = device, Blocks(device)

    def pinned(self, shape: tuple[int, ...], dtype: str) -> Array:
        """Zeros in page-locked host memory."""
        return pinned_array(self._device, shape, np.dtype(dtype))

    def zeros(self, shape: tuple[int, ...], dtype: str) -> DeviceArray:
        """Zeros on the device: what a call is warmed up on has to be a value that the graph can take."""
        array = self._array(shape, np.dtype(dtype))
        here = self.pinned(shape, dtype)
        self._copy([(array.address, here.ctypes.data, here.nbytes)])
        return array

    def copies(self, values: Sequence[tuple[int, tuple[int, ...], str]]) -> list[DeviceArray]:
        """Copies of (address, shape, dtype) on this device, which is complete and somebody else's."""
        arrays = [self._array(shape, np.dtype(dtype)) for _, shape, dtype in values]
        self._copy([(array.address, value[0], array.nbytes) for array, value in zip(arrays, values, strict=True)])
        return arrays

    def use(self) -> None:
        """Make this the calling thread's device."""
        self._device.use()

    def wait_for(self, stream: int) -> None:
        """Wait for what is on `stream` now: ONNX Runtime, whose stream is its own, runs next."""
        self._device.use()
        self._device.synchronize(stream)

    def close(self) -> None:
        self._blocks.close()

    def _array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> DeviceArray:
        nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        return DeviceArray(self._device, self._blocks.take(nbytes), shape, dtype)

    def _copy(self, copies: Sequence[tuple[int, int, int]]) -> None:
        self._device.use()
        stream = self._device.create_stream()
        try:
            for target, source, nbytes in copies:
                if nbytes:
                    self._device.copy(target, source, nbytes, stream)
            self._device.synchronize(stream)
        finally:
            self._device.destroy_stream(stream)


def on_gpu(number: int) -> tuple[DeviceMemory | None, str | None]:
    """The memory of GPU `number`; or None, and why there are no arrays on the device for callers."""
    reason = cuda_device.why_unavailable()
    if reason is None:
        try:
            return DeviceMemory(cuda_device.CudaDevice(number)), None
        except BackendError as error:
            reason = str(error)
    return None, f"no arrays on the device for callers: {reason}"
