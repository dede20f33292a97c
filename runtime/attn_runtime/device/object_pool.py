"""A bounded number of things of which each belongs to one thread at a time, made when they are first needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Generic, Protocol, TypeVar

from ..errors import InputError, UsageError


class Closable(Protocol):
    def close(self) -> None: ...


T = TypeVar("T", bound=Closable)


class Pool(Generic[T]):
    """At most `most` things made by `make`. Threads beyond that wait for one to come back.

    The one that came back last goes out first: its memory has the sizes of late, and a lone thread never makes a second.
    """

    def __init__(self, make: Callable[[], T], most: int) -> None:
        self._make, self._most = make, most
        self._changed = threading.Condition()
        self._idle: list[T] = []
        self._count = 0
        self._closed = False

    @contextmanager
    def take(self) -> Iterator[T]:
        """One of them, for a `with`. Whatever fails but an InputError closes it: it may be in any state.

        UsageError once the pool is closed, also for a thread that was waiting.
        """
        thing = self._wait_for_one()
        try:
            yield thing
        except InputError:
            self._put_back(thing)
            raise
        except BaseException:
            self._forget(thing)
            raise
        self._put_back(thing)

    def close(self) -> None:
        """Close them all, and wait for those that are out. Closing twice is closing once."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            while True:
                while self._idle:
                    self._count -= 1
                    self._idle.pop().close()
                if not self._count:
                    return
                self._changed.wait()

    def _wait_for_one(self) -> T:
        with self._changed:
            while not self._closed:
                if self._idle:
                    return self._idle.pop()
                if self._count < self._most:
                    self._count += 1
                    break
                self._changed.wait()
            else:
                raise UsageError("the session is closed; open another")
        try:
            return self._make()  # without the lock: it may take a second
        except BaseException:
            self._one_less()
            raise

    def _put_back(self, thing: T) -> None:
        with self._changed:
            self._idle.append(thing)
            self._changed.notify_all()

    def _forget(self, thing: T) -> None:
        with suppress(Exception):  # what went wrong first is what is told
            thing.close()
        self._one_less()

    def _one_less(self) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()
