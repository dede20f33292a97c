"""Who takes part in a table, with each number of threads, and what is made of what they took."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from precision.rows import Field
from precision.runners import PACKAGES, Array, Peer, Runner, Work
from precision.turns import measure

from .machine import busy, cores
from .row import Asked

#: Of ours: with threads="auto".
OURS = "attn-runtime"
BUSY = ", one core busy"
#: Before each measurement everybody works so long, so that threads="auto" has seen what the machine is like. Not in a quick run.
_LEAD_S = 1.0


def counts() -> list[int]:
    """Numbers of threads that everybody is measured with."""
    return sorted({1, cores()})


def titled(name: str, threads: int) -> str:
    return f"{name}, {threads} thread{'s' * (threads > 1)}"


def with_ours(make: Callable[[int | str | None], Runner]) -> Field:
    """Ours with threads="auto", as it comes, and with each number of threads."""
    field = Field()
    ways = {OURS: "auto", f"{OURS}, as it comes": None, **{titled(OURS, threads): threads for threads in counts()}}
    for name, threads in ways.items():
        field.add(name, lambda n=name, t=threads: named(make(t), n))  # type: ignore[misc]
    return field


def named(runner: Runner, name: str) -> Runner:
    runner.name = name
    return runner


def add_peers(
    field: Field, title: str, kind: str, options: Callable[[int], Sequence[object]], asked: Asked, log: Path
) -> None:
    """A peer with each number of threads. A quick run makes no venv: one that is not there is missing."""
    if not asked.peers:
        field.missing[title] = "not asked for"
        return
    if asked.quick and not (asked.venvs / f".venv-{kind}" / ".installed").exists():
        field.missing[title] = (
            f"{asked.venvs}/.venv-{kind} is not there; a run without --quick makes it: {PACKAGES[kind][0]}"
        )
        return
    for threads in counts():
        name = titled(title, threads)
        file = log / f"{name}.log"
        field.add(name, lambda n=name, t=threads, f=file: Peer(n, kind, options(t), asked.venvs, f))  # type: ignore[misc]


def seconds_of(
    field: Field, works: Sequence[Work], asked: Asked, compare: Callable[[Work, Array, Array], dict[str, Any]]
) -> dict[str, dict[str, float]]:
    """Median seconds by work and runner. A work whose name ends in BUSY is measured with half of the cores taken. RuntimeError
    where answers differ, or one of ours fails."""
    try:
        if not field.runners or field.runners[0].name != OURS:
            raise RuntimeError(f"{OURS} did not open: {field.missing[OURS]}")
        rows = measure(field.runners, works, asked.rounds, compare, _around, lead_of(asked))
    finally:
        field.close()
    found: dict[str, dict[str, float]] = {work.name: {} for work in works}
    for row in rows:
        if "problem" in row and row["runner"].startswith(OURS):
            raise RuntimeError(f"{row['work']}: {row['runner']} failed: {row['problem']}")
        if "problem" in row:
            field.missing[row["runner"]] = row["problem"]
        else:
            found[row["work"]][row["runner"]] = row["seconds"]
    return found


def lead_of(asked: Asked) -> float:
    return 0.0 if asked.quick else _LEAD_S


def _around(work: Work) -> AbstractContextManager[object]:
    return busy() if work.name.endswith(BUSY) else nullcontext()


def best(seconds: Mapping[str, float], names: Iterable[str]) -> tuple[str, float | None]:
    """The fastest of those that were measured."""
    here = {name: seconds[name] for name in names if name in seconds}
    name = min(here, key=lambda each: here[each], default="")
    return name, here.get(name)


def peers_of(seconds: Mapping[str, float]) -> list[str]:
    return [name for name in seconds if not name.startswith(OURS)]


def fixed_of(seconds: Mapping[str, float]) -> list[str]:
    """Ours as it comes and with a number of threads, which don't change."""
    return [name for name in seconds if name.startswith(f"{OURS}, ")]


def why_missing(field: Field) -> str:
    return "; ".join(f"no {name}: {why}" for name, why in field.missing.items())
