"""Signals that end a command: it unwinds, so that what is half written is removed, and ends all the same where it can't."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from typing import NoReturn

#: How long a signal may go unheard. Python hears it between two of its own steps, and a graph is one step.
_PATIENCE_S = 2.0
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP


class StoppedError(SystemExit):
    """A signal asks the process to end."""


def end_on_signals(on_deaf: Callable[[int], object]) -> Callable[[], int | None]:
    """From now on SIGTERM and SIGHUP raise StoppedError in the main thread, and SIGINT KeyboardInterrupt.

    Where nothing is raised within two seconds, since the main thread computes inside a library (a graph can loop for ever),
    `on_deaf` is called with the signal's number, and the process ends with 128 + that number. Nothing is done outside the
    main thread, and for a signal that is ignored, as under nohup.

    Returns what tells the number of the first signal that was heard, None before: a library may turn what is raised inside it
    into an error of its own (torch.export does).
    """
    heard = threading.Event()
    first: list[int] = []

    def end(number: int, frame: object) -> NoReturn:
        first.append(number)
        heard.set()
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise StoppedError(128 + number)

    with contextlib.suppress(ValueError):  # not the main thread: nothing to set
        numbers = [number for name in _SIGNALS if (number := getattr(signal, name, None)) is not None]
        watched = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
        for number in watched:
            signal.signal(number, end)
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        threading.Thread(target=_watch, args=(reading, watched, heard, on_deaf), daemon=True).start()
    return lambda: first[0] if first else None


def _watch(reading: int, watched: list[int], heard: threading.Event, on_deaf: Callable[[int], object]) -> None:
    while not heard.is_set():
        (number,) = os.read(reading, 1)
        if number in watched and not heard.wait(_PATIENCE_S):
            try:
                on_deaf(number)
            finally:
                os._exit(128 + number)
