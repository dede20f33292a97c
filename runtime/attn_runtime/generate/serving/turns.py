"""Who has the graphs of a generator: one thread after the other, in the order in which they asked."""

from __future__ import annotations

import threading
from collections import deque


class Turns:
    """A lock that is given to who has waited longest. `threading.Lock` gives it to anybody, as to who just let go of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()
        self._holder = 0

    @property
    def mine(self) -> bool:
        """Whether the calling thread has it."""
        return self._holder == threading.get_ident()

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for it."""
        return bool(self._waiting)

    def take(self) -> None:
        """Wait for it."""
        with self._lock:
            if not self._taken:
                self._taken = True
                self._holder = threading.get_ident()
                return
            ticket = threading.Lock()
            ticket.acquire()
            self._waiting.append(ticket)
        try:
            ticket.acquire()
        except BaseException:  # Ctrl-C
            with self._lock:
                if ticket in self._waiting:
                    self._waiting.remove(ticket)
                    raise
            self.give()  # it was given in the meantime, and nobody else would ever get it
            raise
        self._holder = threading.get_ident()

    def give(self) -> None:
        """Let the next one have it."""
        with self._lock:
            self._holder = 0
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False
