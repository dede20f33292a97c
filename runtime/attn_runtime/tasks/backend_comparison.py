"""How fast each backend answers one graph on this machine's CPU, in turn, and whether it answers rightly."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from .. import backends
from ..bundle import Bundle
from ..errors import AttnError, UsageError
from ..session import Session, candidates, open_session, remember, remember_curve
from .bench_parts import batch_dim, batches_of
from .verification import verify

#: Times that the backends take turns at each size: what else the machine does then falls on all of them.
_ROUNDS = 3


class Timed(Protocol):
    """Calls that were timed at one size, as `bench` times them."""

    @property
    def sizes(self) -> Mapping[str, int]: ...
    @property
    def runs(self) -> int: ...
    @property
    def p50_ms(self) -> float: ...
    @property
    def p90_ms(self) -> float: ...
    @property
    def p99_ms(self) -> float: ...
    @property
    def throughput(self) -> float: ...


@dataclass(frozen=True)
class BackendTime:
    """One backend at one batch size: a call in milliseconds, rows a second, and how the median compares with the fastest there.
    Each is the median of the turns."""

    backend: str
    batch: int
    sizes: Mapping[str, int]
    runs: int
    p50_ms: float
    ratio: float
    p90_ms: float
    p99_ms: float
    throughput: float


@dataclass(frozen=True)
class ComparisonReport:
    """results      every size, and at it every backend, the fastest first
    fastest      by the mean ratio over the sizes
    left_out     a sentence for each backend that was asked for and not timed: it can't run the graph, or answers wrongly
    verified     whether each was held against the golden cases, which a plain file has not
    remembered   the file that `device="auto"` goes by from now on; None where that was not asked for
    """

    path: str
    device: str
    call: str
    choices: tuple[str, ...]
    results: tuple[BackendTime, ...]
    fastest: str
    left_out: tuple[str, ...]
    verified: bool
    remembered: str | None = None
    passed_over: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def compare_backends(
    path: Path | Bundle,
    names: Sequence[str],
    batches: Sequence[int],
    sizes: Mapping[str, int],
    measure: Callable[[Session, int, Mapping[str, int]], Timed],
    *,
    call: str,
    keep: bool,
    options: Mapping[str, Any],
) -> ComparisonReport:
    """Time `names` ("all" takes every backend that can be used on the CPU) in turn; `measure` times one at one size.

    `options` are those of `open_session`. With `keep` the medians are stored in the bundle. Raises UsageError for an unknown
    name and where nothing can be timed or kept, and what `open_session` and `verify` raise for the bundle itself.
    """
    bundle = path if isinstance(path, Bundle) else None
    with ExitStack() as opened:
        sessions, left_out = _open(path, names, options)
        for session in sessions.values():
            opened.enter_context(session)
        if not sessions:
            raise UsageError(f"no backend to time: {'; '.join(left_out)}. See attn-run doctor.")
        first = next(iter(sessions.values()))
        dim = batch_dim(first)
        results = []
        for batch in batches_of(first, batches, sizes):
            at = {**sizes, **({dim: batch} if dim else {})}
            results += _in_turn(sessions, batch, at, measure)
        means = {name: _mean([each.ratio for each in results if each.backend == name]) for name in sessions}
        fastest = min(means, key=lambda name: means[name])
        file = None
        if keep and bundle is not None:
            medians = {name: _mean([each.p50_ms for each in results if each.backend == name]) for name in sessions}
            told = options.get("graph"), options.get("precision"), options.get("threads")
            for name, session in sessions.items():
                curve = bundle.graph(told[0]).name, session.precision or "fp32", told[2], name, "cpu", call
                remember_curve(bundle, *curve, [vars(each) for each in results if each.backend == name])
            file = remember(bundle, *told, medians)
        return ComparisonReport(
            bundle.path.name if bundle else Path(str(path)).name, "cpu", call, tuple(s.choice for s in sessions.values()),
            tuple(results), fastest, tuple(left_out), bundle is not None, str(file) if file else None,
        )  # fmt: skip


def _open(
    path: Path | Bundle, names: Sequence[str], options: Mapping[str, Any]
) -> tuple[dict[str, Session], list[str]]:
    """A session of each backend that runs this graph and answers the golden cases, and why the others are left out."""
    every = list(names) == ["all"]
    sessions: dict[str, Session] = {}
    left_out = []
    for name in [n for n in backends.names() if backends.computes(n)] if every else dict.fromkeys(names):
        (_, _, module, reason), *_ = candidates("cpu", name)
        if every and module.why_not("cpu"):
            continue  # it is for GPUs
        if reason is None and not backends.computes(name):
            reason = "it knows the golden cases alone"
        if reason is None:
            try:
                reason = _wrong(path, name, options)
                if reason is None:
                    sessions[name] = open_session(path, "cpu", name, **options)
            except AttnError as error:
                if every or error.exit_code == 10:
                    reason = str(error)
                else:
                    raise
        if reason is not None:
            left_out.append(f"{name} ({reason})")
    return sessions, left_out


def _wrong(path: Path | Bundle, name: str, options: Mapping[str, Any]) -> str | None:
    """Why its answers do not count; None where they hold, or where nothing tells."""
    if not isinstance(path, Bundle):
        return None
    told = {key: options.get(key) for key in ("graph", "precision", "cache")}
    report = verify(path.path, name, "cpu", check=False, **told)
    return None if report.passed else "its answers are not within the limit; attn-run verify tells more"


def _in_turn(
    sessions: Mapping[str, Session],
    batch: int,
    sizes: Mapping[str, int],
    measure: Callable[[Session, int, Mapping[str, int]], Timed],
) -> list[BackendTime]:
    found: dict[str, list[Timed]] = {name: [] for name in sessions}
    for _ in range(_ROUNDS):
        for name, session in sessions.items():
            found[name].append(measure(session, batch, sizes))

    def median(name: str, what: str) -> float:
        return float(statistics.median(getattr(each, what) for each in found[name]))

    best = min(median(name, "p50_ms") for name in found)
    times = []
    for name, rounds in found.items():
        p50, *others = (median(name, what) for what in ("p50_ms", "p90_ms", "p99_ms", "throughput"))
        times.append(
            BackendTime(name, batch, rounds[0].sizes, sum(each.runs for each in rounds), p50, p50 / best, *others)
        )
    return sorted(times, key=lambda each: each.ratio)


def _mean(values: Sequence[float]) -> float:
    """The geometric mean, in which no size outweighs another."""
    return math.exp(statistics.fmean(map(math.log, values)))
