"""What a fork leaves behind: a child has the memory of its parent and none of its threads.

An engine that was opened before can't run in the child, and letting go of it there would wait for its threads for ever. So it
is never let go of, and whoever calls it is told to open it after the fork.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Protocol


class Opened(Protocol):
    """What holds an engine."""

    def after_fork(self) -> None:
        """Called in every child: `abandon` the engine, and refuse all further calls."""


_opened: weakref.WeakSet[Opened] = weakref.WeakSet()


def watch(opened: Opened) -> None:
    """Have its `after_fork` called in every child of a fork, for as long as it lives."""
    _opened.add(opened)


def abandon(thing: object) -> None:
    """Never let go of it in this process, not even when the interpreter ends."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def finalize(thing: object, work: Callable[..., object], *arguments: Any) -> weakref.finalize[Any, Any]:
    """weakref.finalize, of which a child of a fork does nothing: what it would give back is its parent's."""
    return weakref.finalize(thing, _in_this_process, os.getpid(), work, arguments)


def _in_this_process(process: int, work: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    if process == os.getpid():
        work(*arguments)


def opened_before(what: str, where: str) -> str:
    """What a UsageError of the child says. `what` is "session" or "generator", `where` names what was opened."""
    return f"the {what} on {where} was opened before a fork; open it after the fork, in the process that uses it"


def lock() -> threading.Lock:
    """A lock that is free in every child, whichever thread of the parent holds it. For what lives as long as the process."""
    made = threading.Lock()
    in_child(made._at_fork_reinit)  # type: ignore[attr-defined]
    return made


class Gate:
    """Work that a fork waits for: what it holds inside a library, which no child could ever give back.

    Threads do it side by side, in a `with`. `patience` is how many seconds a fork waits at most.
    """

    def __init__(self, patience: float = 60.0) -> None:
        self._patience = patience
        self._changed = threading.Condition(threading.Lock())
        self._inside: list[int] = []  # threads, once for each time
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._close, after_in_parent=self._reopen, after_in_child=self._reopen_in_child)

    def __enter__(self) -> None:
        with self._changed:
            self._inside.append(threading.get_ident())

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._inside.remove(threading.get_ident())
            self._changed.notify_all()

    def _close(self) -> None:
        me = threading.get_ident()
        self._changed.acquire()
        self._changed.wait_for(lambda: all(thread == me for thread in self._inside), self._patience)

    def _reopen(self) -> None:
        self._changed.release()

    def _reopen_in_child(self) -> None:
        self._inside = [thread for thread in self._inside if thread == threading.get_ident()]
        self._reopen()


def in_child(call: Callable[[], object]) -> None:
    """Call it in every child of a fork from now on."""
    if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
        os.register_at_fork(after_in_child=call)


def _left_behind() -> None:
    for opened in list(_opened):
        opened.after_fork()


in_child(_left_behind)
