"""Memory that grows to the largest call and stays, and numpy arrays in page-locked memory."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import forks
from .interface import Device


class Buffer:
    """Memory that `at_least` makes larger when it must; what it held is lost then. Belongs to one thread at a time.

    No work may use the old memory when it grows. `growths` counts how often its address changed.
    """

    def __init__(self, allocate: Callable[[int], int], free: Callable[[int], None]) -> None:
        self._allocate, self._free = allocate, free
        self.address = 0
        self.nbytes = 0
        self.growths = 0
        self._raw: Any = None

    @classmethod
    def on_device(cls, device: Device) -> Buffer:
        return cls(device.allocate, device.free)

    @classmethod
    def pinned(cls, device: Device) -> Buffer:
        return cls(device.allocate_pinned, device.free_pinned)

    def at_least(self, nbytes: int) -> int:
        """The address of `nbytes` bytes or more."""
        if not self.address or nbytes > self.nbytes:
            # A quarter more than it had: sizes that rise one by one shall not allocate every time.
            wanted = max(nbytes, self.nbytes + self.nbytes // 4, 1)
            self.close()  # first, so that old and new need not fit in memory together
            self.address = self._allocate(wanted)
            self.nbytes = wanted
            self.growths += 1
        return self.address

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Host memory as an array, good until the buffer grows."""
        if self._raw is None:
            self._raw = (ctypes.c_byte * self.nbytes).from_address(self.address)
        return np.ndarray(shape, dtype, self._raw)

    def close(self) -> None:
        if self.address:
            address, self.address, self.nbytes, self._raw = self.address, 0, 0, None
            self._free(address)


def size_of(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """In bytes."""
    return math.prod(shape) * dtype.itemsize


def host_view(address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Host memory as a numpy array, without a copy; whoever owns the memory keeps it alive."""
    raw = (ctypes.c_byte * size_of(shape, dtype)).from_address(address)
    return _over(raw, shape, dtype)


def pinned_array(device: Device, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros in page-locked memory of its own, freed when the last view of it is gone."""
    nbytes = max(size_of(shape, dtype), 1)
    device.use()
    address = device.allocate_pinned(nbytes)
    raw = (ctypes.c_byte * nbytes).from_address(address)
    forks.finalize(raw, _free_pinned, device, address)
    array = _over(raw, shape, dtype)
    array[...] = 0
    return array


def _over(raw: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    # Of bytes first, since frombuffer refuses to make an array without elements.
    count = size_of(shape, dtype)
    array: NDArray[Any] = np.ndarray(shape, dtype, memoryview(raw)[:count] if count else None)
    return array


def _free_pinned(device: Device, address: int) -> None:
    device.use()
    device.free_pinned(address)
