"""How far a run is: rows per second, what is left, and both for a collector of metrics."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...files import write_file
from ...stats import metrics_of, prometheus_text
from .rows import Part

#: Seconds between two writings of the file of metrics.
_EVERY_S = 5.0


@dataclass(frozen=True)
class Progress:
    """`rows` of this run, `failed` of them without an answer, in `seconds`; `before` were done by earlier ones. `left` is how
    many rows there are still, as far as what was read of the inputs tells; None while nothing of some input was."""

    rows: int
    failed: int
    before: int
    seconds: float
    left: int | None

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        return None if self.left is None or not self.rows else self.left / self.rows_per_second


class Counter:
    """Counts parts as they are done, and tells of them: `on_progress` after each, `metrics`, a file, every few seconds."""

    def __init__(
        self,
        sources: int,
        before: int,
        on_progress: Callable[[Progress], object] | None,
        metrics: str | os.PathLike[str] | None,
    ) -> None:
        self._totals: list[int | None] = [None] * sources
        self._furthest = [-1] * sources  # parts may come in any order, and the last one of an input knows best
        self._before, self._on_progress = before, on_progress
        self._metrics = None if metrics is None else Path(metrics)
        self._rows = self._failed = 0
        self._started = time.monotonic()
        self._told = -_EVERY_S

    def finished(self, source: int, rows: int) -> None:
        """Of an input of which nothing is left to do."""
        self._totals[source] = rows

    def add(self, part: Part, failed: int) -> None:
        source, stop = part.place.source, part.place.stop
        if stop > self._furthest[source]:
            self._furthest[source], self._totals[source] = stop, part.total
        self._rows += len(part.place)
        self._failed += failed
        now = self.now()
        if self._on_progress is not None:
            self._on_progress(now)
        if time.monotonic() - self._told >= _EVERY_S:
            self.write(now)

    def now(self) -> Progress:
        known = [total for total in self._totals if total is not None]
        left = max(0, sum(known) - self._before - self._rows) if len(known) == len(self._totals) else None
        return Progress(self._rows, self._failed, self._before, time.monotonic() - self._started, left)

    def write(self, now: Progress) -> None:
        """The file of metrics, whole or not at all. OutputError where it can't be written."""
        self._told = time.monotonic()
        if self._metrics is not None:
            write_file(self._metrics, metrics_text(now).encode())


def metrics_text(now: Progress) -> str:
    """The text form of Prometheus, as its node exporter reads it from a file."""
    told = metrics_of(
        "attn_map",
        {},
        ("rows_total", "counter", "Rows that were answered or failed.", now.rows),
        ("rows_failed_total", "counter", "Rows without an answer.", now.failed),
        ("seconds_total", "counter", "Seconds since the run began.", now.seconds),
        ("rows_before", "gauge", "Rows that earlier runs had done.", now.before),
        ("rows_per_second", "gauge", "Rows a second, since the run began.", now.rows_per_second),
        ("rows_left", "gauge", "Rows that are left, as far as is known.", now.left),
    )
    return prometheus_text(*told)
