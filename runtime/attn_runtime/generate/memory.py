"""Buffers of a generation in host memory, and the one copy that a cache needs: a box of entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..session import Session


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

    def clear(self) -> None:
        """Make it all zeros."""


class HostStack:
    """See `Stack`: one numpy array, so that a copy of all parts is one call."""

    def __init__(self, parts: int, shape: tuple[int, int, int, int], dtype: str) -> None:
        self.whole: NDArray[Any] = np.zeros((parts, *shape), dtype)
        self.parts: Sequence[Any] = list(self.whole)
        self.moved = 0
        self._bytes_per_place = parts * shape[1] * shape[3] * self.whole.itemsize

    def copy(
        self, row: int, place: int, source: Any, source_row: int, source_place: int, rows: int, places: int
    ) -> None:
        self.whole[:, row : row + rows, :, place : place + places] = source.whole[
            :, source_row : source_row + rows, :, source_place : source_place + places
        ]
        self.moved += rows * places * self._bytes_per_place

    def clear(self) -> None:
        self.whole[...] = 0


class Memory(Protocol):
    """Where the tensors lie that go from graph to graph and never leave the device."""

    on_device: bool

    def stack(self, parts: int, shape: tuple[int, int, int, int], dtype: str) -> Stack:
        """Zeros: `parts` tensors of [rows, heads, places, size]."""

    def repeat(self, target: Any, source: Any) -> None:
        """Let every row of `source` fill as many rows of `target`, one behind the other, as it has room for."""


class HostMemory:
    """See `Memory`."""

    on_device = False

    def stack(self, parts: int, shape: tuple[int, int, int, int], dtype: str) -> Stack:
        return HostStack(parts, shape, dtype)

    def repeat(self, target: NDArray[Any], source: NDArray[Any]) -> None:
        repeat_rows(target, source)


def repeat_rows(target: NDArray[Any], source: NDArray[Any]) -> None:
    """See `Memory.repeat`, of numpy arrays."""
    rows = len(source)
    target.reshape(rows, len(target) // rows, *source.shape[1:])[...] = source[:, None]


def memory_of(sessions: Sequence[Session]) -> Memory:
    """The device's memory where all sessions can bind it, else the host's."""
    return HostMemory()
