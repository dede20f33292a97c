"""What a session counts of its calls."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..lazy import dataclass
from .histogram import Histogram, Latencies
from .prometheus import Metric, metrics_of

#: So many numbers are kept as they are before they are sorted into buckets, which costs more than the call of a small graph.
_MOST_KEPT = 4096


@dataclass(frozen=True)
class SessionStats:
    """What a session and its bound calls did since it was opened.

    since      when that was, in seconds since 1970
    calls      how many there were, the failed ones included
    failed     how many raised an error, whosever fault it was
    rows       how many rows the answered ones had: the first size of the first input, 1 where it has no axis
    seconds    how long the answered ones took together, checks of the inputs included
    latencies  how long each of them took: `quantile(0.99)`, and the buckets
    labels     where, backend, device and precision of the session
    """

    since: float
    calls: int
    failed: int
    rows: int
    latencies: Latencies
    labels: Mapping[str, str]

    @property
    def seconds(self) -> float:
        return self.latencies.seconds

    @property
    def p50(self) -> float | None:
        """Seconds of the median call, to within a factor of 1.10; None without an answered call."""
        return self.latencies.quantile(0.5)

    @property
    def p90(self) -> float | None:
        return self.latencies.quantile(0.9)

    @property
    def p99(self) -> float | None:
        return self.latencies.quantile(0.99)

    @property
    def longest(self) -> float | None:
        return self.latencies.longest if self.latencies.count else None

    def to_json(self) -> dict[str, Any]:
        counts = {"calls": self.calls, "failed": self.failed, "rows": self.rows}
        return {"since": self.since, **counts, "call_seconds": self.latencies.to_json(), **self.labels}

    def metrics(self) -> tuple[Metric, ...]:
        """For `prometheus_text`."""
        return metrics_of(
            "attn_session",
            self.labels,
            ("calls_total", "counter", "Calls, failed ones included.", self.calls),
            ("failed_calls_total", "counter", "Calls that raised an error.", self.failed),
            ("rows_total", "counter", "Rows of the answered calls.", self.rows),
            ("call_seconds", "histogram", "Time of an answered call.", self.latencies),
        )


class CallRecorder:
    """Counts calls of any number of threads. What is done at a call extends a list, which is atomic."""

    def __init__(self) -> None:
        self._since = time.time()
        self._kept: list[int] = []  # nanoseconds and rows, in turn
        self._failures: list[None] = []
        self._lock = threading.Lock()
        self._calls = self._failed = self._rows = 0
        self._histogram = Histogram()

    def answered(self, nanoseconds: int, rows: int) -> None:
        kept = self._kept
        kept += (nanoseconds, rows)
        if len(kept) > _MOST_KEPT:
            self._sort()

    def failed(self) -> None:
        self._failures.append(None)
        if len(self._failures) > _MOST_KEPT:
            self._sort()

    def read(self, labels: Mapping[str, str]) -> SessionStats:
        with self._lock:
            self._sort_in()
            calls = self._calls + self._failed
            return SessionStats(self._since, calls, self._failed, self._rows, self._histogram.read(), labels)

    def _sort(self) -> None:
        with self._lock:
            self._sort_in()

    def _sort_in(self) -> None:
        # Others append meanwhile: what came behind the first ones stays.
        first = self._kept[:]
        del self._kept[: len(first)]
        failed = len(self._failures)
        del self._failures[:failed]
        self._failed += failed
        nanoseconds, rows = np.array(first, np.int64).reshape(-1, 2).T
        self._calls += len(rows)
        self._rows += int(rows.sum())
        self._histogram.add(nanoseconds / 1e9)

    def after_fork(self) -> None:
        """In a child of a fork, where the lock may be held by a thread that is not there."""
        self._lock = threading.Lock()
