"""How fast a graph answers on this machine, by batch size: latency, throughput, and the memory it took. A generator is timed
as it writes: generation_benchmark."""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import arguments
from ..bundle import Bundle, is_bundle
from ..errors import UsageError, did_you_mean
from ..files import peak_memory, reset_peak_memory
from ..random_inputs import draw_inputs
from ..session import Session, open_session, remember_curve
from ..spec import named_dims
from .bench_parts import Report, batch_dim, batches_of, check_kept, drawable

if TYPE_CHECKING:
    from .backend_comparison import ComparisonReport
    from .generation_benchmark import GenerationBenchReport

#: Measured calls at each size, at least.
_RUNS = 20
_BATCHES = arguments.Kind(
    "whole numbers in a list",
    lambda value: isinstance(value, list | tuple | range | set | frozenset) and all(map(arguments.is_whole, value)),
)
_NAMES = arguments.Kind(
    "names in a list",
    lambda value: isinstance(value, list | tuple) and all(isinstance(name, str) for name in value),
)
_SIZES = arguments.Kind(
    "a mapping from dims to whole numbers",
    lambda value: arguments.MAPPING.fits(value) and all(map(arguments.is_whole, value.values())),
)
_SECONDS = arguments.Kind("a finite number", lambda value: arguments.is_number(value) and math.isfinite(value))
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


class BenchReport(Report[SizeResult]):
    """`call` is "bound" (preallocated buffers) or "run" (new outputs on every call)."""


def bench(
    path: str | os.PathLike[str],
    backend: str | None = None,
    device: str = "auto",
    *,
    batches: Sequence[int] = (),
    sizes: Mapping[str, int] | None = None,
    call: str | None = None,
    warmup_s: float = 0.5,
    measure_s: float = 2.0,
    min_runs: int | None = None,
    threads: int | str | None = None,
    cache: str | os.PathLike[str] | None = None,
    graph: str | None = None,
    precision: str | None = None,
    seed: int = 0,
    new_tokens: int | None = None,
    backends: Sequence[str] = (),
    remember: bool = False,
    on_open: Callable[[bool], None] | None = None,
    on_size: Callable[[Any], None] | None = None,
) -> BenchReport | GenerationBenchReport | ComparisonReport:
    """Time calls on seeded random inputs at each batch size, smallest first.

    The batch dim is the first axis of the first input, where that is dynamic. `batches` left out means its min, opt
    and max; `sizes` sets other named dims, which otherwise take their opt. Each size runs `warmup_s` unmeasured, then
    at least `measure_s` seconds and `min_runs` calls (20). `call` is "bound" (the default) or "run".

    A bundle that generates, with no `graph` named, is timed as it writes: `new_tokens` for each row (32, or what the model
    has room for), greedy, `min_runs` answers (3); the report is then a GenerationBenchReport. `on_open` is called before
    anything is measured, with whether it is such a bundle; `on_size` with each result, a SizeResult or a GenerationSize.

    `backends` times several on the CPU in turn, "all" those that can be used, each after its answers were held against the
    golden cases; the report is then a ComparisonReport, and neither callback is called.

    `remember` stores what was measured in the bundle, with what it was measured on (`describe` tells it). Of `backends`,
    `open_session` without a backend takes the fastest from then on, on this machine and for this graph alone.
    Raises UsageError for an unknown dim or option, InputError for a size out of range, and what `open_session` and
    `open_generator` raise.
    """
    arguments.expect(arguments.PATH, path=path)
    arguments.expect(arguments.TEXT | arguments.NONE, call=call)
    arguments.expect(_BATCHES, batches=batches)
    arguments.expect(_NAMES, backends=backends)
    arguments.expect(arguments.FLAG, remember=remember)
    arguments.expect(_SIZES | arguments.NONE, sizes=sizes)
    arguments.expect(_SECONDS, warmup_s=warmup_s, measure_s=measure_s)
    arguments.expect(arguments.WHOLE | arguments.NONE, min_runs=min_runs, new_tokens=new_tokens)
    arguments.expect(arguments.WHOLE, seed=seed)
    arguments.expect_call("on_open", on_open, False)
    arguments.expect_call("on_size", on_size, None)
    if call not in (None, "bound", "run"):
        raise UsageError(f'unknown call "{call}"; {did_you_mean(str(call), ("bound", "run"))}available: bound, run')
    least = _RUNS if min_runs is None else min_runs
    if seed < 0:
        raise UsageError(f"seed: got {arguments.shown(seed)}, expected 0 or more")
    if warmup_s < 0 or measure_s < 0 or least < 1:
        raise UsageError(f"got warm-up {warmup_s} s, measuring {measure_s} s, {least} runs; expected >= 0, 0 and 1")
    if any(batch < 1 for batch in batches):
        raise UsageError(f"batch sizes: got {', '.join(map(str, batches))}; expected 1 or more")
    bundle = Bundle.open(path) if is_bundle(Path(path)) else None
    if remember:
        check_kept(bundle, path)
    if bundle is not None and graph is None and "generation" in bundle.manifest["assets"]:
        from .generation_benchmark import Measure, bench_generator

        if call is not None:
            raise UsageError(
                f'call: got "{call}", for one graph; name it, or leave the call out to time the whole answer'
            )
        return bench_generator(
            bundle, batches, sizes or {}, new_tokens, Measure(warmup_s, measure_s, min_runs, seed), on_open, on_size,
            keep=remember, device=device, backend=backend, precision=precision, threads=threads, cache=cache,
        )  # fmt: skip
    if new_tokens is not None:
        raise UsageError(f"new tokens: got {new_tokens}, of {Path(path).name}, where one graph runs and writes none")
    call = call or "bound"
    options: dict[str, Any] = {"graph": graph, "precision": precision, "threads": threads, "cache": cache}
    if backends:
        from .backend_comparison import compare_backends

        if backend is not None or device not in ("auto", "cpu"):
            raise UsageError("backends: several are timed on the CPU; leave out backend, and device or take cpu")

        def one(session: Session, batch: int, at: Mapping[str, int]) -> SizeResult:
            return _measure(session, batch, at, call, warmup_s, measure_s / 3, -(-least // 3), seed)

        return compare_backends(
            bundle or Path(path), backends, batches, sizes or {}, one, call=call, keep=remember, options=options
        )
    results = []
    with open_session(bundle or path, device, backend, **options) as session:
        dim = batch_dim(session)
        chosen = batches_of(session, batches, sizes or {})
        if on_open:
            on_open(False)
        for batch in chosen:
            at = {**(sizes or {}), **({dim: batch} if dim else {})}
            results.append(_measure(session, batch, at, call, warmup_s, measure_s, least, seed))
            if on_size:
                on_size(results[-1])
        told, file = (session.backend, session.device, session.choice), None
        if remember and bundle is not None and session.precision is not None:
            name = bundle.graph(graph).name
            curve = session.precision, threads, session.backend, session.device
            file = str(remember_curve(bundle, name, *curve, call, [vars(each) for each in results]))
        return BenchReport(Path(path).name, *told, call, dim, tuple(results), session.passed_over, file)


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
        for name, value in draw_inputs([drawable(spec) for spec in session.inputs], sizes, seed).items():
            bound.inputs[name][...] = value
    else:
        once = partial(session.run, draw_inputs([drawable(spec) for spec in session.inputs], sizes, seed))

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
