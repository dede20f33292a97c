"""A time limit for a capture, which can't run in a child process: the module lives here, and fits into no pipe.

torch.export, its symbolic sizes and the exporter are Python nearly throughout, and Python code can be interrupted between
two instructions (PyThreadState_SetAsyncExc, CPython's C API, "Asynchronous exceptions"). What hangs inside one call of
native code goes on until that call ends.
"""

from __future__ import annotations

import ctypes
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import torch
from attn_runtime.errors import StageError

#: Seconds between two interruptions: the first may meet code that swallows it, and clearing up behind it takes a while.
_AGAIN = 20.0


class _Interrupted(BaseException):
    """No Exception: the exporter tries its next strategy after one of these."""


@contextmanager
def time_limit(seconds: float, started: float, module: torch.nn.Module) -> Iterator[None]:
    """Interrupt the code inside once `seconds` have passed since `started` (of time.monotonic); math.inf never does.

    Raises StageError, with the submodule of `module` at which the work was, where the interruption shows one.
    """
    watch = _Watch(started + seconds - time.monotonic())
    try:
        watch.start()
        try:
            yield
        finally:
            watch.end()
    except _Interrupted as problem:
        watch.end()  # the interruption may have hit the first one; the next is far
        place = interrupted_at(problem.__traceback__, module)
        raise StageError(
            f"capture: no graph within {seconds:g} s, so it was stopped{place}; raise --stage-timeout, fix dims that need not "
            "vary with --dim NAME=SIZE, or export that part by itself to see what it does"
        ) from None


class _Watch:
    """A thread that interrupts the one that made it, from `seconds` after the start until the end."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._target, self._ended = seconds, threading.get_ident(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="capture time limit", daemon=True)

    def start(self) -> None:
        if self._seconds <= 0:
            raise _Interrupted
        if math.isfinite(self._seconds):
            self._thread.start()

    def end(self) -> None:
        """From here on nothing is interrupted any more; what was on its way is called back."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        _interrupt(self._target, None)

    def _run(self) -> None:
        seconds = self._seconds
        while not self._ended.wait(seconds):
            _interrupt(self._target, _Interrupted)
            seconds = _AGAIN


def _interrupt(thread: int, kind: type[BaseException] | None) -> None:
    """Raise `kind` in a thread at its next instruction; None takes back what was not raised yet."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), None if kind is None else ctypes.py_object(kind))


def interrupted_at(trace: TracebackType | None, module: torch.nn.Module) -> str:
    """As in " at encoder.layers.3 (SwinLayer), while it was traced": the innermost submodule whose code the traceback holds, or
    whose node was at work; nothing where it holds neither."""
    paths = {id(part): (path, type(part).__name__) for path, part in module.named_modules() if path}
    found = ""
    while trace is not None:
        local = trace.tb_frame.f_locals
        if (known := paths.get(id(local.get("self")))) is not None:
            found = f" at {known[0]} ({known[1]}), while it was traced"
        elif isinstance(node := local.get("node"), torch.fx.Node) and (stack := node.meta.get("nn_module_stack")):
            path, kind = list(stack.values())[-1]
            found = f" at {path} ({str(getattr(kind, '__name__', kind)).rpartition('.')[2]}), while its nodes were translated"
        trace = trace.tb_next
    return found
