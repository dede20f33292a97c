"""Measuring in turns: one measurement of each runner, then the next round, so that what slows the machine slows all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from statistics import median
from typing import Any

from .runners import Array, Made, Runner, Work, say

#: Between measurements. Threads of the one before wait busily for their next call: a session of ONNX Runtime's for 40 ms alone.
SETTLE_S = 0.25
#: A turn of a graph is calls for so long, at least one.
TURN_S = 0.4


def measure(
    runners: Sequence[Runner],
    works: Sequence[Work],
    rounds: int,
    compare: Callable[[Work, Array, Array], dict[str, Any]],
    around: Callable[[Work], AbstractContextManager[object]] = lambda _work: nullcontext(),
    lead_s: float = 0.0,
) -> list[dict[str, Any]]:
    """A row per work and runner: median seconds, those over the first runner's, and what `compare` says of its answers.

    `compare(work, reference, answers)` gets the first runner's answers of the first turn as reference; what it raises ends
    all. A runner that fails has a "problem" instead. `around(work)` is entered for a turn: what the machine is to be like. A
    turn begins with work that is not measured, for `lead_s` seconds.
    """
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    seconds: dict[tuple[str, str], list[float]] = {}
    references: dict[str, Array] = {}
    for turn in range(rounds + 1):  # the first warms up
        for work in works:
            order = list(runners)
            if turn:
                order = order[turn % len(order) :] + order[: turn % len(order)]
            for runner in order:
                key = (work.name, runner.name)
                row = rows.setdefault(key, {"work": work.name, "runner": runner.name})
                if "problem" in row:
                    continue
                time.sleep(SETTLE_S)
                try:
                    with around(work):
                        if turn:
                            keep_going(runner, work, lead_s)
                        made = _turn(runner, work, seconds.get(key))
                except Exception as problem:  # a peer's own, of any kind
                    row["problem"] = f"{type(problem).__name__}: {problem}"[:300]
                    continue
                if turn:
                    seconds[key] = [*seconds.get(key, []), median(made.seconds)]
                reference = references.setdefault(work.name, made.answers)
                try:
                    row |= {"computes": made.computes, **compare(work, reference, made.answers)}
                except Exception as problem:
                    raise RuntimeError(f"{work.name}: {runner.name}: {problem}") from problem
        say(f"  {'warm-up' if not turn else f'round {turn} of {rounds}'} done")
    for (work_name, _), row in rows.items():
        own, first = seconds.get((work_name, row["runner"])), seconds.get((work_name, runners[0].name))
        if own:
            row |= {"seconds": median(own), "least": min(own), "most": max(own)}
            if first:
                row["ratio"] = median(own) / median(first)
    return list(rows.values())


def keep_going(runner: Runner, work: Work, seconds: float) -> None:
    """Work that is not measured."""
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        runner.run(work, 1)


def _turn(runner: Runner, work: Work, so_far: Sequence[float] | None) -> Made:
    """One generation, or calls of a graph for TURN_S after one that warms up."""
    if work.tokens is not None or not so_far:
        return runner.run(work, 1)
    return runner.run(work, max(1, round(TURN_S / so_far[0])) + 1)
