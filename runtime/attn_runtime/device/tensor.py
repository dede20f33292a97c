"""Tensors in device memory: one that a caller lends for a call, and one that is handed out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from . import dlpack
from .buffers import Buffer, host_view, size_of
from .interface import DEFAULT_STREAM, DLPACK_CUDA, Device
from .memory_pool import Block


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Intake:
    """Where an engine takes tensors of a device from: DLPack's device type and number, and a CUDA stream.

    A producer is asked to let `stream` wait for its own work, and the engine lets its work wait for `stream`. Where a
    producer only names the stream that it works on, `wait_for` lets `stream` wait for that one. `use` makes the device
    the calling thread's own, before a producer is asked: PyTorch gives a tensor of another GPU than the current one to nobody.
    """

    device_type: int
    number: int
    stream: int
    wait_for: Callable[[int], None]
    use: Callable[[], None] = _nothing


@dataclass(frozen=True)
class DeviceTensor:
    """A tensor of the caller in device memory, in C order. `keep` holds the memory; drop it when the call is over."""

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    keep: object

    @property
    def nbytes(self) -> int:
        return size_of(self.shape, self.dtype)


def borrow(value: Any, intake: Intake) -> DeviceTensor:
    """`value`, which speaks DLPack or has __cuda_array_interface__, without a copy.

    Raises ValueError, in words that go on after "got a TYPE that can't be read in place: ", for a tensor elsewhere, with
    gaps, or of a dtype that numpy lacks; and what the producer raises.
    """
    if isinstance(value, DeviceArray) and value.__dlpack_device__() == (intake.device_type, intake.number):
        intake.wait_for(DEFAULT_STREAM)  # whoever took it over may still be writing
        return DeviceTensor(value.address, value.shape, value.dtype, value)
    if hasattr(value, "__dlpack__"):
        return _from_dlpack(value, intake)
    return _from_cuda_array_interface(value.__cuda_array_interface__, value, intake)


def _from_dlpack(value: Any, intake: Intake) -> DeviceTensor:
    place = tuple(map(int, value.__dlpack_device__()))
    if place != (intake.device_type, intake.number):
        raise ValueError(f"it is on device {place[1]}, the session on {intake.number}")
    # The CPU has no streams, and producers refuse one there.
    asked = {"stream": intake.stream} if intake.device_type == DLPACK_CUDA else {}
    intake.use()
    view = dlpack.read(value.__dlpack__(**asked))
    _check_packed(view.shape, view.strides)
    return DeviceTensor(view.address, view.shape, view.dtype, (value, view.keep))


def _from_cuda_array_interface(told: dict[str, Any], value: object, intake: Intake) -> DeviceTensor:
    """https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html; it does not tell the device."""
    if told.get("mask") is not None:
        raise ValueError("it has a mask, which would be lost")
    dtype, shape = np.dtype(told["typestr"]), tuple(map(int, told["shape"]))
    strides = told.get("strides")
    if strides is not None:
        _check_packed(shape, tuple(step // dtype.itemsize for step in strides))
    # Version 3 gives None where all is complete; before that, work was on the legacy default stream.
    if (stream := told.get("stream", None if told.get("version", 0) >= 3 else DEFAULT_STREAM)) is not None:
        intake.wait_for(int(stream))
    return DeviceTensor(int(told["data"][0] or 0), shape, dtype, value)


def _check_packed(shape: tuple[int, ...], strides: tuple[int, ...] | None) -> None:
    if strides is None or 0 in shape:
        return
    expected = 1
    for size, step in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and step != expected:
            raise ValueError(f"its strides {list(strides)} leave gaps in {list(shape)}; call .contiguous() first")
        expected *= size


class DeviceArray:
    """An array in device memory that owns it: `numpy.from_dlpack`'s counterpart for GPUs.

    shape, dtype  as numpy's; the elements lie in C order
    device        where it is, as in "cuda:0"
    Take it over without a copy with torch.from_dlpack, cupy.from_dlpack or anything that reads DLPack or
    __cuda_array_interface__; `numpy` copies it to the host, `write` from there. What it holds is complete when it is
    handed out, so no stream has to be waited for. The memory goes when the array and everything that took it over are gone,
    and is not used anew before the work is done that was queued on the stream that took it over. `numpy` and `write` wait
    for the default stream, and for no other.
    """

    def __init__(
        self, device: Device, memory: Block, shape: tuple[int, ...], dtype: np.dtype[Any], offset: int = 0
    ) -> None:
        self.shape, self.dtype, self.device = shape, dtype, device.name
        self._device, self._memory, self.address = device, memory, memory.address + offset

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        return size_of(self.shape, self.dtype)

    def parts(self) -> list[DeviceArray]:
        """The arrays along the first axis, over the same memory."""
        start = self.address - self._memory.address
        step = size_of(self.shape[1:], self.dtype)
        rest = (self._device, self._memory, self.shape[1:], self.dtype)
        return [DeviceArray(*rest, offset=start + n * step) for n in range(self.shape[0])]

    def rows(self, count: int) -> DeviceArray:
        """The first `count` of the arrays along the first axis, over the same memory."""
        start = self.address - self._memory.address
        return DeviceArray(self._device, self._memory, (count, *self.shape[1:]), self.dtype, offset=start)

    def clear(self) -> None:
        """Make it all zeros, on the default stream: done when work put there later begins."""
        if self.nbytes:
            self._device.use()
            self._device.clear(self.address, self.nbytes, DEFAULT_STREAM)

    def copy_box(
        self,
        offset: int,
        steps: tuple[int, int],
        source: DeviceArray,
        source_offset: int,
        source_steps: tuple[int, int],
        extent: tuple[int, int, int],
    ) -> None:
        """`Device.copy_box` from another array on the device, on the default stream, offsets and steps in bytes."""
        for array, start, each in ((self, offset, steps), (source, source_offset, source_steps)):
            end = start + each[1] * (extent[2] - 1) + each[0] * (extent[1] - 1) + extent[0]
            assert start >= 0 and end <= array.nbytes, "a box beyond its array"
            array._memory.lend(DEFAULT_STREAM)  # who lets go of it behind this does so before the copy is made
        self._device.use()
        to, at = self.address + offset, source.address + source_offset
        self._device.copy_box(to, steps, at, source_steps, extent, DEFAULT_STREAM)

    def numpy(self) -> NDArray[Any]:
        """A copy on the host."""
        copied = np.empty(self.shape, self.dtype)
        if self.nbytes:
            with self._staging() as (pinned, stream):
                self._device.copy(pinned, self.address, self.nbytes, stream)
                self._device.synchronize(stream)
                np.copyto(copied, host_view(pinned, self.shape, self.dtype))
        return copied

    def write(self, value: NDArray[Any]) -> None:
        """Copy an array of the same shape and dtype in; done when it returns. InputError for any other."""
        if (value.shape, value.dtype) != (self.shape, self.dtype):
            raise InputError(
                f"got {value.dtype.name} {list(value.shape)}; the array on {self.device} is {self.dtype.name} "
                f"{list(self.shape)}"
            )
        if self.nbytes:
            with self._staging() as (pinned, stream):
                np.copyto(host_view(pinned, self.shape, self.dtype), value)
                self._device.copy(self.address, pinned, self.nbytes, stream)
                self._device.synchronize(stream)

    @contextmanager
    def _staging(self) -> Iterator[tuple[int, int]]:
        """Page-locked memory of this size, and a stream: for copies that nobody is in a hurry for."""
        self._device.use()
        self._device.synchronize(DEFAULT_STREAM)  # whoever took the array over may still be writing, or reading
        stream, pinned = self._device.create_stream(), Buffer.pinned(self._device)
        try:
            yield pinned.at_least(self.nbytes), stream
        finally:
            pinned.close()
            self._device.destroy_stream(stream)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device.dlpack_type, self._device.number

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: object = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> object:
        """Any `stream` will do, since nothing has to be waited for; None is the default stream.

        BufferError where a copy or another device is asked for: the caller would take for its own what is not.
        """
        if copy or (dl_device is not None and tuple(map(int, dl_device)) != self.__dlpack_device__()):
            raise BufferError(f"an array on {self.device} is handed over in place; copy or move what was taken over")
        self._memory.lend(DEFAULT_STREAM if stream is None else stream)
        where = self.__dlpack_device__()
        return dlpack.write(self.address, self.shape, self.dtype, *where, keep=self)

    def __getattr__(self, name: str) -> Any:
        # An attribute of device memory alone: whoever finds it takes the address for one on a GPU.
        if name == "__cuda_array_interface__" and self._device.dlpack_type == DLPACK_CUDA:
            self._memory.lend(None)
            return {
                "shape": self.shape,
                "typestr": self.dtype.str,
                "data": (self.address, False),
                "strides": None,
                "stream": None,
                "version": 3,
            }
        raise AttributeError(f"DeviceArray has no attribute {name}")

    def __repr__(self) -> str:
        return f"<DeviceArray {self.dtype.name}{list(self.shape)} on {self.device}>"
