"""Device memory that is lent and comes back: an allocation stops the GPU for a moment, so a warm session makes none."""

from __future__ import annotations

import sys
import threading
from collections import deque
from contextlib import suppress

from .interface import ALIGNMENT, Device


class Block:
    """`nbytes` of device memory at `address`, for as long as somebody holds the block.

    Whoever lets go of the last reference sees to it that no work uses the memory any more. Any thread may be the one.
    """

    __slots__ = ("_from", "address", "nbytes")

    def __init__(self, address: int, nbytes: int, owner: Blocks) -> None:
        self.address, self.nbytes, self._from = address, nbytes, owner

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self._from._take_back(self.address, self.nbytes)


class Blocks:
    """Blocks of one device. `take` may be called from many threads.

    After `close`, blocks that are out stay valid, and are freed when they come back.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._free: list[tuple[int, int]] = []  # (bytes, address)
        # A deque, since a block comes back whenever the garbage collector runs: perhaps while this thread has the lock.
        self._returned: deque[tuple[int, int]] = deque()
        self._closed = False

    def take(self, nbytes: int) -> Block:
        """A block of `nbytes` or up to twice that."""
        wanted = max(-(-nbytes // ALIGNMENT) * ALIGNMENT, ALIGNMENT)
        with self._lock:
            while self._returned:
                self._free.append(self._returned.popleft())
            fitting = [found for found in self._free if wanted <= found[0] <= 2 * wanted]
            if fitting:
                self._free.remove(min(fitting))
                size, address = min(fitting)
                return Block(address, size, self)
        self._device.use()
        return Block(self._device.allocate(wanted), wanted, self)

    def close(self) -> None:
        """Free what is here; the rest when it comes back."""
        with self._lock:
            self._closed = True
            self._returned.extend(self._free)
            self._free.clear()
        self._free_returned()

    def _take_back(self, address: int, nbytes: int) -> None:
        self._returned.append((nbytes, address))
        if self._closed:
            with suppress(Exception):  # there is nobody to tell
                self._free_returned()

    def _free_returned(self) -> None:
        self._device.use()
        while True:
            try:
                _, address = self._returned.popleft()
            except IndexError:
                return
            self._device.free(address)
