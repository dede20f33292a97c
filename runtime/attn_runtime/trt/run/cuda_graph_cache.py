"""The CUDA graphs of one stream: at most so many, the one not used for longest goes first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from ...device import Closable

T = TypeVar("T", bound=Closable)

# What was seen once costs a key; what is captured costs an execution context.
_SEEN_PER_GRAPH = 8


class GraphCache(Generic[T]):
    """Captured calls by what they depend on: shapes and addresses. Belongs to one thread at a time.

    A capture is worth its time only for what comes again: `seen_before` says so at the second time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._captured: OrderedDict[Hashable, T] = OrderedDict()
        self._seen: OrderedDict[Hashable, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._captured)

    def find(self, key: Hashable) -> T | None:
        if key not in self._captured:
            return None
        self._captured.move_to_end(key)
        return self._captured[key]

    def seen_before(self, key: Hashable) -> bool:
        known = key in self._seen
        self._seen[key] = None
        self._seen.move_to_end(key)
        if len(self._seen) > self._most * _SEEN_PER_GRAPH:
            self._seen.popitem(last=False)
        return known

    def make_room(self) -> None:
        """Close the one not used for longest, if there is no room for another: before the next one takes memory."""
        while len(self._captured) >= self._most:
            self._captured.popitem(last=False)[1].close()

    def add(self, key: Hashable, captured: T) -> None:
        self.make_room()
        self._captured[key] = captured

    def clear(self) -> None:
        """Close them all: an address that they were captured with is no longer valid."""
        while self._captured:
            self._captured.popitem()[1].close()
