"""What must not wait for ever is ended, in the main thread: only a test that fails takes longer than its code."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """TimeoutError inside after `seconds`, of system calls that block, too."""

    def over(*_: Any) -> None:
        raise TimeoutError(f"still running after {seconds} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def end_after(seconds: int) -> None:
    """In a child of a fork: the system ends it then, wherever it hangs. The handler of pytest-timeout, which it has too, needs
    Python to be run."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds)
