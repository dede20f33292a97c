"""How many cores other processes leave to this one, while it runs."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic, process_time
from typing import NamedTuple

#: Seconds between two looks. The system counts processor time in hundredths of a second.
LOOK_S = 0.25
#: Of a line of /proc/stat, behind the core's name: user, nice, system, irq, softirq, steal. The rest is idle, or counted twice.
_TAKEN = (0, 1, 2, 5, 6, 7)


class _Look(NamedTuple):
    """time, busy, own: seconds, those of processors that everybody and that this process has had; cores: how many of them."""

    time: float
    busy: float
    own: float
    cores: int


class FreeCores:
    """The cores that this process may run on, less the processor time that others take on them.

    From /proc/stat and the processor time of this process, which both say what was, whoever won: two busy processes on two
    cores leave each other none. None where /proc/stat can't be read, as on other systems than Linux. May be asked by many
    threads.
    """

    def __init__(
        self, root: Path = Path("/"), now: Callable[[], float] = monotonic, own: Callable[[], float] = process_time
    ) -> None:
        self._stat, self._now, self._own = root / "proc/stat", now, own
        self._lock = threading.Lock()
        self._last = self._look()
        self._windows: tuple[float, ...] = ()

    def now(self) -> float | None:
        """Of the last two looks, the one that found fewer: a core counts as free once it has been free twice. Looks where the
        last look is old."""
        if self._last is not None and self._now() - self._last.time >= LOOK_S and self._lock.acquire(blocking=False):
            try:
                self._measure(self._last)
            finally:
                self._lock.release()
        return min(self._windows, default=None)

    def _measure(self, last: _Look) -> None:
        found = self._look()
        if found is None:
            return
        if (seconds := found.time - last.time) > 0:
            # Of what is known later than it was spent, a little may be missing.
            others = max((found.busy - last.busy) - (found.own - last.own), 0.0) / seconds
            self._windows = (*self._windows[-1:], max(found.cores - others, 0.0))
        self._last = found

    def _look(self) -> _Look | None:
        try:
            lines = self._stat.read_text().splitlines()
        except OSError:
            return None
        cores: dict[str, float] = {}
        with suppress(ValueError, IndexError):
            for line in lines:
                name, *ticks = line.split()
                if name.startswith("cpu"):
                    cores[name] = sum(int(ticks[which]) for which in _TAKEN) / os.sysconf("SC_CLK_TCK")
        together = cores.pop("cpu", None)
        if together is None:
            return None
        allowed = {f"cpu{core}" for core in os.sched_getaffinity(0)}
        if allowed <= set(cores):
            return _Look(self._now(), sum(cores[core] for core in allowed), self._own(), len(allowed))
        # A container may be shown as many cores as its quota has, whatever those are called that it runs on.
        return _Look(self._now(), together, self._own(), len(cores))


_of_this_process: tuple[int, FreeCores] | None = None


def free_cores() -> FreeCores:
    """The one of this process, which all sessions ask."""
    global _of_this_process
    if _of_this_process is None or _of_this_process[0] != os.getpid():
        _of_this_process = (os.getpid(), FreeCores())
    return _of_this_process[1]
