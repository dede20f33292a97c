"""What a generator counts of its requests."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from numpy.typing import NDArray

from ..lazy import dataclass
from .histogram import Histogram, Latencies
from .prometheus import Metric, metrics_of

COUNTS = ("requests", "failed", "cancelled", "rows", "tokens", "drafted", "accepted")


@dataclass(frozen=True)
class GeneratorStats:
    """What a generator did since it was opened: calls of `generate`, and requests that were submitted.

    since              when that was, in seconds since 1970
    requests           how many are over, the failed ones included
    failed             how many raised an error, whosever fault it was; those that were refused too
    cancelled          how many were ended before their time, by `cancel` or a deadline
    rows, tokens       prompts that were answered, and tokens that were written for them, stop tokens included
    drafted, accepted  with `lookup`, tokens that were guessed and fed, and those of them that were written
    writing_seconds    how long tokens were written for, by at least one request
    request_latencies  from the prompt to the whole answer, waiting included
    first_token_latencies  from the prompt to the first token
    running, waiting   requests that are there now: those begun, and those that wait for their turn
    labels             where, backend, device and precision of the generator
    """

    since: float
    requests: int
    failed: int
    cancelled: int
    rows: int
    tokens: int
    drafted: int
    accepted: int
    writing_seconds: float
    request_latencies: Latencies
    first_token_latencies: Latencies
    running: int
    waiting: int
    labels: Mapping[str, str]

    @property
    def tokens_per_second(self) -> float | None:
        """While at least one request was there; None before the first token."""
        return self.tokens / self.writing_seconds if self.tokens and self.writing_seconds else None

    def to_json(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in ("since", *COUNTS, "writing_seconds", "tokens_per_second")},
            "request_seconds": self.request_latencies.to_json(),
            "first_token_seconds": self.first_token_latencies.to_json(),
            "running": self.running,
            "waiting": self.waiting,
            **self.labels,
        }

    def metrics(self) -> tuple[Metric, ...]:
        """For `prometheus_text`."""
        return metrics_of(
            "attn_generator",
            self.labels,
            ("requests_total", "counter", "Requests that are over, failed ones included.", self.requests),
            ("failed_requests_total", "counter", "Requests that raised an error.", self.failed),
            ("cancelled_requests_total", "counter", "Requests that were ended early.", self.cancelled),
            ("rows_total", "counter", "Prompts that were answered.", self.rows),
            ("tokens_total", "counter", "Tokens that were written.", self.tokens),
            ("drafted_tokens_total", "counter", "Tokens that were guessed and fed.", self.drafted),
            ("accepted_tokens_total", "counter", "Guessed tokens that were written.", self.accepted),
            ("writing_seconds_total", "counter", "Time in which a request was there.", self.writing_seconds),
            ("requests_running", "gauge", "Requests that are being written.", self.running),
            ("requests_waiting", "gauge", "Requests that wait for their turn.", self.waiting),
            ("request_seconds", "histogram", "Time from a prompt to its answer.", self.request_latencies),
            ("first_token_seconds", "histogram", "Time from a prompt to its first token.", self.first_token_latencies),
        )


class Answer(Protocol):
    """What a request came to."""

    @property
    def seconds(self) -> float: ...
    @property
    def lengths(self) -> NDArray[Any]: ...
    @property
    def stopped(self) -> Sequence[str]: ...
    @property
    def drafted(self) -> int | None: ...
    @property
    def accepted(self) -> int | None: ...


class Submitted(Protocol):
    """A request that others write."""

    first_seconds: float | None

    def when_done(self, call: Callable[[Any], object]) -> None: ...
    def result(self) -> Any: ...


A = TypeVar("A", bound=Answer)
S = TypeVar("S", bound=Submitted)


class RequestRecorder:
    """Counts requests of any number of threads."""

    def __init__(self) -> None:
        self._since = time.time()
        self._lock = threading.Lock()
        self._whole, self._first = Histogram(), Histogram()
        self._counts = Counter[str]()
        self._there, self._busy, self._busy_from = 0, 0.0, 0.0

    def request(self) -> Record:
        """For one request, in a `with`: an error inside is one that failed."""
        return Record(self)

    def begun(self) -> None:
        with self._lock:
            if not self._there:
                self._busy_from = time.perf_counter()
            self._there += 1

    def over(self, answer: Answer | None, first_seconds: float | None = None) -> None:
        """One that had begun; without an answer it failed."""
        with self._lock:
            self._there -= 1
            if not self._there:
                self._busy += time.perf_counter() - self._busy_from
            counts = self._counts
            counts["requests"] += 1
            if answer is None:
                counts["failed"] += 1
                return
            counts["cancelled"] += "cancelled" in answer.stopped or "deadline" in answer.stopped
            counts["rows"] += len(answer.stopped)
            counts["tokens"] += int(answer.lengths.sum())
            counts["drafted"] += answer.drafted or 0
            counts["accepted"] += answer.accepted or 0
            self._whole.add([answer.seconds])
            self._first.add([] if first_seconds is None else [first_seconds])

    def read(self, waiting: int, labels: Mapping[str, str]) -> GeneratorStats:
        """`waiting` of those that are there have not been begun."""
        with self._lock:
            busy = self._busy + (time.perf_counter() - self._busy_from if self._there else 0.0)
            return GeneratorStats(
                self._since,
                **{name: self._counts[name] for name in COUNTS},
                writing_seconds=busy,
                request_latencies=self._whole.read(),
                first_token_latencies=self._first.read(),
                running=max(self._there - waiting, 0),
                waiting=waiting,
                labels=labels,
            )


class Record:
    """One request, from here to its answer."""

    def __init__(self, recorder: RequestRecorder) -> None:
        self._recorder = recorder
        self._answer: Answer | None = None
        self._first: float | None = None
        self._goes_on = False

    def __enter__(self) -> Record:
        self._recorder.begun()
        self._started = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        if not self._goes_on:
            self._recorder.over(self._answer, self._first)

    def token_came(self) -> None:
        """Its first."""
        self._first = time.perf_counter() - self._started

    def answered(self, answer: A) -> A:
        self._answer = answer
        return answer

    def followed(self, request: S) -> S:
        """It is over when the request is."""
        self._goes_on = True
        request.when_done(self._end)
        return request

    def _end(self, request: Submitted) -> None:
        try:
            answer = request.result()
        except BaseException:  # told to who waits for it
            answer = None
        self._recorder.over(answer, request.first_seconds)
