"""How fast a graph answers on this machine, by batch size: latency, throughput, and the memory it took."""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError
from ..files import peak_memory, reset_peak_memory
from ..random_inputs import draw_inputs
from ..session import Session, open_session
from ..spec import TensorSpec, named_dims
from ..suggest import did_you_mean

# Above this, the end of a range says that nothing is known about it, and is no batch size to try.
_SENSIBLE_SIZE = 4096
#: Calls whose times are kept, however long it runs.
_MOST_TIMES = 100_000


@dataclass(frozen=True)
class SizeResult:
    """One batch size. Times are in milliseconds for one call, throughput in items (rows of the batch) a second.

    `peak_memory` is in bytes of resident memory of the whole process; `memory_source` tells over what time:
    "VmHWM" since just before this size was run, "ru_maxrss" since the process began; 0 and "" where none is told.
    """

    batch: int
    sizes: Mapping[str, int]
    runs: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    mean_ms: float
    throughput: float
    peak_memory: int
    memory_source: str


@dataclass(frozen=True)
class BenchReport:
    """`call` is "bound" (preallocated buffers) or "run" (new outputs on every call)."""

    path: str
    backend: str
    device: str
    choice: str
    call: str
    batch_dim: str | None
    results: tuple[SizeResult, ...]
    passed_over: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def bench(
    path: str | os.PathLike[str],
    backend: str | None = None,
    device: str = "auto",
    *,
    batches: Sequence[int] = (),
    sizes: Mapping[str, int] | None = None,
    call: str = "bound",
    warmup_s: float = 0.5,
    measure_s: float = 2.0,
    min_runs: int = 20,
    threads: int | None = None,
    graph: str | None = None,
    precision: str | None = None,
    seed: int = 0,
    on_size: Callable[[SizeResult], None] | None = None,
) -> BenchReport:
    """Time calls on seeded random inputs at each batch size, smallest first.

    The batch dim is the first axis of the first input, where that is dynamic. `batches` left out means its min, opt
    and max; `sizes` sets other named dims, which otherwise take their opt. Each size runs `warmup_s` unmeasured, then
    at least `measure_s` seconds and `min_runs` calls. Raises UsageError for an unknown dim or option, InputError for a
    size out of range, and what `open_session` raises.
    """
    if call not in ("bound", "run"):
        raise UsageError(f'unknown call "{call}"; {did_you_mean(call, ("bound", "run"))}available: bound, run')
    if warmup_s < 0 or measure_s < 0 or min_runs < 1:
        raise UsageError(f"got warm-up {warmup_s} s, measuring {measure_s} s, {min_runs} runs; expected >= 0, 0 and 1")
    if any(batch < 1 for batch in batches):
        raise UsageError(f"batch sizes: got {', '.join(map(str, batches))}; expected 1 or more")
    results = []
    with open_session(path, device, backend, graph=graph, precision=precision, threads=threads) as session:
        dims = named_dims(session.inputs)
        for name in sizes or {}:
            if name not in dims:
                known = ", ".join(dims) or "(none)"
                raise UsageError(
                    f'unknown dim "{name}"; {did_you_mean(name, dims)}available: {known} ({session.where})'
                )
        batch_dim = _batch_dim(session)
        for batch in _batches(session, batch_dim, batches):
            at = {**(sizes or {}), **({batch_dim: batch} if batch_dim else {})}
            results.append(_measure(session, batch, at, call, warmup_s, measure_s, min_runs, seed))
            if on_size:
                on_size(results[-1])
        told = session.backend, session.device, session.choice
        return BenchReport(Path(path).name, *told, call, batch_dim, tuple(results), session.passed_over)


def _measure(
    session: Session,
    batch: int,
    sizes: Mapping[str, int],
    call: str,
    warmup_s: float,
    measure_s: float,
    min_runs: int,
    seed: int,
) -> SizeResult:
    memory_source = reset_peak_memory()
    once: Callable[[], object]
    if call == "bound":
        once = bound = session.bind(sizes)  # first, since it refuses sizes out of range
        for name, value in draw_inputs([_drawable(spec) for spec in session.inputs], sizes, seed).items():
            bound.inputs[name][...] = value
    else:
        once = partial(session.run, draw_inputs([_drawable(spec) for spec in session.inputs], sizes, seed))

    until = time.perf_counter() + warmup_s
    once()
    while time.perf_counter() < until:
        once()
    kept = _Sample(_MOST_TIMES)
    started = before = time.perf_counter()
    while kept.seen < min_runs or before - started < measure_s:
        once()
        now = time.perf_counter()
        kept.add(now - before)
        before = now
    ms, runs, seconds = np.asarray(kept.values) * 1000, kept.seen, before - started
    p50, p90, p99 = (float(p) for p in np.percentile(ms, [50, 90, 99]))
    all_dims = {name: dim.opt for name, dim in named_dims(session.inputs).items()} | dict(sizes)
    return SizeResult(
        batch, all_dims, runs, p50, p90, p99, seconds / runs * 1000, batch * runs / seconds,
        peak_memory(memory_source), memory_source,
    )  # fmt: skip


class _Sample:
    """At most `most` of the values that are added, each as likely to be kept as any other, so that a long run's
    percentiles stay honest and its memory bounded (Li's algorithm L: a draw only where one is taken)."""

    def __init__(self, most: int) -> None:
        self.values: list[float] = []
        self.seen = 0
        self._most, self._random, self._weight, self._next = most, random.Random(0), 1.0, most
        self._skip()

    def add(self, value: float) -> None:
        if self.seen < self._most:
            self.values.append(value)
        elif self.seen == self._next:
            self.values[self._random.randrange(self._most)] = value
            self._next += 1
            self._skip()
        self.seen += 1

    def _skip(self) -> None:
        """Draw which value is the next to be taken."""
        self._weight *= math.exp(math.log(1 - self._random.random()) / self._most)
        self._next += math.floor(math.log(1 - self._random.random()) / math.log1p(-self._weight))


def _batch_dim(session: Session) -> str | None:
    first = session.inputs[0].dims[0] if session.inputs and session.inputs[0].dims else None
    return first.name if first and first.dynamic else None


def _batches(session: Session, batch_dim: str | None, asked: Sequence[int]) -> list[int]:
    if batch_dim is None:
        dims = session.inputs[0].dims if session.inputs else ()
        fixed = dims[0].opt if dims else 1
        if asked and set(asked) != {fixed}:
            raise UsageError(f"{session.where}: its batch is fixed at {fixed}, got {', '.join(map(str, asked))}")
        return [fixed]
    dim = named_dims(session.inputs)[batch_dim]
    usual = {size for size in (dim.min, dim.opt, dim.max) if 0 < size <= _SENSIBLE_SIZE}
    return sorted(set(asked) or usual or {dim.opt})


def _drawable(spec: TensorSpec) -> TensorSpec:
    # A plain ONNX file does not tell how large an index may be. 0 and 1 are in every table, and time the same.
    return replace(spec, high=2) if spec.high is None and "int" in spec.dtype else spec
