"""Buffers of a generation, on the host or on a GPU, and the one copy that a cache needs: a box of entries.

What lies on a GPU stays there: copies are put on the default stream, which a bound call waits for before it reads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...device import ALIGNMENT, DeviceArray
from ...session import Session


class Stack(Protocol):
    """Tensors [rows, heads, places, size] of one dtype, of which `copy` copies the same box in all.

    parts   the tensors, C-contiguous each, as `Session.bind` takes them
    moved   bytes that `copy` has written so far
    """

    parts: Sequence[Any]
    moved: int

    def copy(
        self, row: int, place: int, source: Any, source_row: int, source_place: int, rows: int, places: int
    ) -> None:
        """Let `rows` rows and `places` places here, from (row, place) on, be those of `source`, in all heads and parts.

        `source` is a stack of as many parts, heads and sizes; rows and places that overlap must not be copied within one.
        """

    def write(self, place: int, source: Any) -> None:
        """Let one place of every row be the only one of `source`: a `copy` that is made at every step."""

    def write_each(self, places: Sequence[int], source: Any) -> None:
        """Let the place places[i] of row i be the only one of row i of `source`, for as many rows as there are places."""

    def clear(self) -> None:
        """Make it all zeros."""


class HostStack:
    """See `Stack`: one numpy array, so that a copy of all parts is one call."""

    def __init__(self, parts: int, shape: tuple[int, int, int, int], dtype: str) -> None:
        self.whole: NDArray[Any] = np.zeros((parts, *shape), dtype)
        self.parts: Sequence[Any] = list(self.whole)
        self.only = self.whole[:, :, :, 0]
        self.moved = 0
        self._bytes_per_place = parts * shape[1] * shape[3] * self.whole.itemsize

    def copy(
        self, row: int, place: int, source: Any, source_row: int, source_place: int, rows: int, places: int
    ) -> None:
        self.whole[:, row : row + rows, :, place : place + places] = source.whole[
            :, source_row : source_row + rows, :, source_place : source_place + places
        ]
        self.moved += rows * places * self._bytes_per_place

    def write(self, place: int, source: Any) -> None:
        self.whole[:, :, :, place] = source.only
        self.moved += len(self.parts[0]) * self._bytes_per_place

    def write_each(self, places: Sequence[int], source: Any) -> None:
        rows = len(places)
        if rows < 8:  # each by itself is faster
            for row, place in enumerate(places):
                self.whole[:, row, :, place] = source.only[:, row]
        else:  # of two axes by number with one between them, numpy puts what they choose in front
            self.whole[:, np.arange(rows), :, np.array(places)] = source.only[:, :rows].swapaxes(0, 1)
        self.moved += rows * self._bytes_per_place

    def clear(self) -> None:
        self.whole[...] = 0


class Memory(Protocol):
    """Where the tensors lie that go from graph to graph and never leave the device."""

    on_device: bool

    def stack(self, parts: int, shape: tuple[int, int, int, int], dtype: str) -> Stack:
        """Zeros: `parts` tensors of [rows, heads, places, size]."""

    def repeat(self, target: Any, source: Any) -> None:
        """Let every row of `source` fill as many rows of `target`, one behind the other, as it has room for."""

    def put_row(self, target: Any, row: int, source: Any, source_row: int) -> None:
        """Let one row of `target` hold one of `source`, which may differ in the size of one further axis: what it lacks there
        becomes zeros, and what is too much is left."""


class HostMemory:
    """See `Memory`."""

    on_device = False

    def stack(self, parts: int, shape: tuple[int, int, int, int], dtype: str) -> Stack:
        return HostStack(parts, shape, dtype)

    def repeat(self, target: NDArray[Any], source: NDArray[Any]) -> None:
        repeat_rows(target, source)

    def put_row(self, target: NDArray[Any], row: int, source: NDArray[Any], source_row: int) -> None:
        put_row(target, row, source, source_row)


def repeat_rows(target: NDArray[Any], source: NDArray[Any]) -> None:
    """See `Memory.repeat`, of numpy arrays."""
    rows = len(source)
    target.reshape(rows, len(target) // rows, *source.shape[1:])[...] = source[:, None]


def put_row(target: NDArray[Any], row: int, source: NDArray[Any], source_row: int) -> None:
    """See `Memory.put_row`, of numpy arrays."""
    both = tuple(slice(min(sizes)) for sizes in zip(target.shape[1:], source.shape[1:], strict=True))
    target[row] = 0
    target[row][both] = source[source_row][both]


def rows_of(array: Any, rows: int) -> Any:
    """The first rows of a buffer, over the same memory."""
    return array[:rows] if isinstance(array, np.ndarray) else array.rows(rows)


class DeviceCache:
    """See `Stack`: one array on the device where its parts can begin at addresses that engines take, else one for each."""

    def __init__(self, session: Session, parts: int, shape: tuple[int, int, int, int], dtype: str) -> None:
        itemsize = np.dtype(dtype).itemsize
        self._rows, self._heads, self._places, self._size = *shape[:3], shape[3] * itemsize
        nbytes = math.prod(shape) * itemsize
        self._arrays: list[DeviceArray]
        if nbytes % ALIGNMENT == 0:
            self._arrays = [session.buffer((parts, *shape), dtype, on_device=True)]
            self.parts: Sequence[Any] = self._arrays[0].parts()
        else:
            self._arrays = [session.buffer(shape, dtype, on_device=True) for _ in range(parts)]
            self.parts = self._arrays
        self._part_bytes = nbytes
        self.moved = 0

    def copy(
        self, row: int, place: int, source: Any, source_row: int, source_place: int, rows: int, places: int
    ) -> None:
        together = len(self._arrays) == len(source._arrays) == 1
        pairs = zip(self._arrays if together else self.parts, source._arrays if together else source.parts, strict=True)
        extent = (places * self._size, rows * self._heads, len(self.parts) if together else 1)
        for target, other in pairs:
            target.copy_box(
                self._offset(row, place),
                self._steps,
                other,
                source._offset(source_row, source_place),
                source._steps,
                extent,
            )
        self.moved += places * self._size * rows * self._heads * len(self.parts)

    def write(self, place: int, source: Any) -> None:
        self.copy(0, place, source, 0, 0, self._rows, 1)

    def write_each(self, places: Sequence[int], source: Any) -> None:
        for row, place in enumerate(places):
            self.copy(row, place, source, row, 0, 1, 1)

    def clear(self) -> None:
        for array in self._arrays:
            array.clear()

    @property
    def _steps(self) -> tuple[int, int]:
        return self._places * self._size, self._part_bytes

    def _offset(self, row: int, place: int) -> int:
        return (row * self._heads * self._places + place) * self._size


class DeviceMemory:
    """See `Memory`. Any of the sessions on a device makes its buffers."""

    on_device = True

    def __init__(self, session: Session) -> None:
        self._session = session

    def stack(self, parts: int, shape: tuple[int, int, int, int], dtype: str) -> Stack:
        return DeviceCache(self._session, parts, shape, dtype)

    def repeat(self, target: DeviceArray, source: DeviceArray) -> None:
        rows, piece = source.shape[0], source.nbytes // source.shape[0]
        times = target.shape[0] // rows
        for number in range(times):
            steps = (times * piece, times * piece * rows)
            target.copy_box(number * piece, steps, source, 0, (piece, piece * rows), (piece, rows, 1))

    def put_row(self, target: DeviceArray, row: int, source: DeviceArray, source_row: int) -> None:
        sizes = list(zip(target.shape[1:], source.shape[1:], strict=True))
        axis = next((n for n, (to, at) in enumerate(sizes) if to != at), 0)
        lines = math.prod(to for to, _ in sizes[:axis])
        to, at = (math.prod(array.shape[1 + axis :]) * array.dtype.itemsize for array in (target, source))
        piece = target.nbytes // target.shape[0]
        if at < to:
            zeros = self._session.buffer((1, *target.shape[1:]), target.dtype.name, on_device=True)
            target.copy_box(row * piece, (piece, piece), zeros, 0, (piece, piece), (piece, 1, 1))
        origin = source_row * (source.nbytes // source.shape[0])
        target.copy_box(row * piece, (to, to * lines), source, origin, (at, at * lines), (min(to, at), lines, 1))


def memory_of(sessions: Sequence[Session]) -> Memory:
    """The device's memory where all sessions can bind it, else the host's."""
    if all(session.has_device_buffers for session in sessions):
        return DeviceMemory(sessions[-1])
    return HostMemory()
