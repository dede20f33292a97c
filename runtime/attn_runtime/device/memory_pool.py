"""Device memory that is lent and comes back: an allocation stops the GPU for a moment, so a warm session makes none."""

from __future__ import annotations

import sys
import threading
from collections import deque
from contextlib import suppress

from ..errors import BackendError
from .interface import ALIGNMENT, DEFAULT_STREAM, Device

# What may still use a block when it comes back: nothing, work on the default stream, work on who knows which stream.
_NOBODY, _DEFAULT, _ANYBODY = range(3)


class Block:
    """`nbytes` of device memory at `address`, for as long as somebody holds the block. Any thread may let go of it.

    A library that was `lent` the block lets go of it as soon as its work is queued, not when that work is done.
    """

    __slots__ = ("_from", "_users", "address", "nbytes")

    def __init__(self, address: int, nbytes: int, owner: Blocks) -> None:
        self.address, self.nbytes, self._from, self._users = address, nbytes, owner, _NOBODY

    def lend(self, stream: int | None) -> None:
        """Another library works with it now, on this stream (DLPack's number or address of it; None where it is not told)."""
        # Of a stream that is not CUDA's own, nobody knows whether it will still exist when the block comes back.
        self._users = max(self._users, _DEFAULT if stream == DEFAULT_STREAM else _ANYBODY)

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self._from._take_back(self.address, self.nbytes, self._users)


class Blocks:
    """Blocks of one device. `take` may be called from many threads.

    After `close`, blocks that are out stay valid, and are freed when they come back.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._free: list[tuple[int, int, int]] = []  # (bytes, address, who may still use it)
        # A deque, since a block comes back whenever the garbage collector runs: perhaps while this thread has the lock.
        self._returned: deque[tuple[int, int, int]] = deque()
        self._closed = False

    def take(self, nbytes: int, stream: int | None = None) -> Block:
        """A block of `nbytes` or up to twice that, for work on `stream`; without one, for work on any.

        Where the default stream may still be busy with what the block held, `stream` waits for that, or else the caller.
        """
        wanted = max(-(-nbytes // ALIGNMENT) * ALIGNMENT, ALIGNMENT)
        lost: list[tuple[int, int, int]] = []
        with self._lock:
            while self._returned:
                back = self._returned.popleft()
                (lost if back[2] == _ANYBODY else self._free).append(back)
            found = min((each for each in self._free if wanted <= each[0] <= 2 * wanted), default=None)
            if found is not None:
                self._free.remove(found)
        self._device.use()
        self._free_all(lost)  # which waits for the whole device, and so for whoever uses them
        if found is None:
            return Block(self._allocate(wanted), wanted, self)
        size, address, users = found
        if users == _DEFAULT:
            self._wait_for_default(stream)
        return Block(address, size, self)

    def close(self) -> None:
        """Free what is here; the rest when it comes back."""
        with self._lock:
            self._closed = True
            self._returned.extend(self._free)
            self._free.clear()
        self._free_returned()

    def _allocate(self, nbytes: int) -> int:
        try:
            return self._device.allocate(nbytes)
        except BackendError:
            with self._lock:  # what lies idle here in other sizes is perhaps what is missing
                idle, self._free = self._free, []
            if not idle:
                raise
            self._free_all(idle)
            return self._device.allocate(nbytes)

    def _wait_for_default(self, stream: int | None) -> None:
        if stream is None:
            self._device.synchronize(DEFAULT_STREAM)
            return
        event = self._device.create_event()
        self._device.record(event, DEFAULT_STREAM)
        self._device.wait(stream, event)
        self._device.destroy_event(event)

    def _free_all(self, blocks: list[tuple[int, int, int]]) -> None:
        for _, address, _ in blocks:
            self._device.free(address)

    def _take_back(self, address: int, nbytes: int, users: int) -> None:
        self._returned.append((nbytes, address, users))
        if self._closed:
            with suppress(Exception):  # there is nobody to tell
                self._free_returned()

    def _free_returned(self) -> None:
        self._device.use()
        while True:
            try:
                _, address, _ = self._returned.popleft()
            except IndexError:
                return
            self._device.free(address)
