"""A row of the table: one runner timed on one job, its answers held against PyTorch's."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from .models import Arrays, Job
from .runners import Opened, Runner

# A GPU at rest has slow clocks, and a library compiles or captures in its first calls.
_WARM_UP_CALLS, _WARM_UP_S = 20, 0.5


class TimeUp(BaseException):
    """The time that was given is over. No library's `except Exception` keeps it."""


@dataclass(frozen=True)
class Row:
    """Times in milliseconds; `error` is a share of max|PyTorch|; all None where `problem` says why not."""

    model: str
    precision: str
    batch: int
    runner: str
    p50_ms: float | None = None
    p99_ms: float | None = None
    error: float | None = None
    limit: float | None = None
    matches: bool | None = None
    note: str = ""
    problem: str = ""


class EventClock:
    """Times between two CUDA events on the default stream, in milliseconds."""

    def __init__(self) -> None:
        from cuda.bindings import runtime

        self._cuda: Any = runtime
        self._start, self._end = (self._do(runtime.cudaEventCreate) for _ in range(2))

    def time(self, call: Callable[[], object]) -> float:
        """Of one call, which is waited for."""
        self._do(self._cuda.cudaEventRecord, self._start, 0)
        call()
        self._do(self._cuda.cudaEventRecord, self._end, 0)
        self._do(self._cuda.cudaEventSynchronize, self._end)
        return float(self._do(self._cuda.cudaEventElapsedTime, self._start, self._end))

    def _do(self, function: Any, *arguments: Any) -> Any:
        error, *results = function(*arguments)
        if error != self._cuda.cudaError_t.cudaSuccess:
            raise RuntimeError(f"{function.__name__} answers {error.name}")
        return results[0] if results else None


def measure(runner: Runner, job: Job, batch: int, expected: Arrays, calls: int, clock: Callable[[], Any]) -> Row:
    """One row. Whatever goes wrong with a library becomes the row's reason: the others are still measured."""
    import numpy as np
    from attn_runtime.bundle import Bundle
    from attn_runtime.compare import compare_all

    about = (job.model, job.precision, batch, runner.name)
    if reason := runner.why_not or job.problem:
        return Row(*about, problem=reason)
    opened: Opened | None = None
    try:
        opened = runner.open(job)
        timer = clock()
        until = time.perf_counter() + _WARM_UP_S
        for number in itertools.count():
            if number >= _WARM_UP_CALLS and time.perf_counter() > until:
                break
            timer.time(opened.call)
        times = [timer.time(opened.call) for _ in range(calls)]
        entry = Bundle.open(job.bundle, check_hashes=False).graph(job.graph).precisions[job.precision]
        got = {name: value.astype(expected[name].dtype) for name, value in opened.answers().items()}
        differences = list(compare_all(expected, got, entry.tolerance, half_io=entry.half_io))
    except Exception as error:
        return Row(*about, problem=told(error))
    finally:
        if opened is not None:
            with suppress(
                Exception
            ):  # a GPU that failed fails this too, and what was measured is not to be lost for it
                opened.close()
    worst = max(differences, key=lambda d: d.max_error / (d.max_reference or 1))
    p50, p99 = (float(p) for p in np.percentile(times, [50, 99]))
    scale = worst.max_reference or 1
    return Row(
        *about, p50, p99, worst.max_error / scale, worst.limit / scale, all(d.passed for d in differences), opened.note
    )


def told(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
