"""Which cases to keep: of many drawn ones, the few that notice most changes of the graph."""

from __future__ import annotations

import contextlib
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from attn_runtime.bundle import Arrays, Case, write_tensors
from attn_runtime.child_process import ChildProcess, TaskFailed
from attn_runtime.compare import Tolerance
from attn_runtime.errors import StageError

from ..onnx_graph import EXTERNAL_FROM_BYTES, read_info
from ..parity import check_case, passed
from .families import Unchanged
from .mutants import Mutant, Mutants
from .runs import Form, Runner


@dataclass(frozen=True)
class Choice:
    """The candidates to keep, the best first, each of which notices a change that those before it do not.

    made      mutants that were tried
    already   of these, what the cases that are kept in any case notice
    caught    what they and the chosen ones notice together
    missed    what none of them notices: equivalent to the graph, or a blind spot
    """

    cases: tuple[Case[Arrays], ...]
    made: int
    already: int
    caught: int
    missed: tuple[Mutant, ...] = ()


def choose_by_power(
    graph: Path,
    candidates: Sequence[Case[Arrays]],
    tolerance: Tolerance,
    mutants: int = 40,
    *,
    kept: Sequence[Case[Arrays]] = (),
    most: int | None = None,
    seed: int = 0,
    name: str = "",
    seconds: float = math.inf,
    child: ChildProcess | None = None,
) -> Choice:
    """Of `candidates`, at most `most` that notice the most of `mutants` changes of the fp32 `graph`, at `tolerance`.

    `kept` are cases that the proof holds anyway: what they notice needs no candidate. A candidate without outputs is held
    against what the graph itself answers, so that PyTorch is asked for the chosen ones alone. Candidates are best of a small
    size, since each is run once per mutant that `kept` does not notice. Which mutants are drawn depends on `seed` alone; how
    many, where `seconds` runs out first, on the machine too. `name` is what they call the graph.

    Raises TaskFailed where the graph itself can't be run at a candidate.
    """
    deadline = time.monotonic() + seconds
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="attn-choose-")))
        child = child or stack.enter_context(ChildProcess())
        runner = Runner(child, work)
        form = Form(graph.parent, read_info(graph).weight_bytes >= EXTERNAL_FROM_BYTES)
        always = [_stored(case, work / f"kept.{n}.safetensors") for n, case in enumerate(kept)]
        tried = [_stored(case, work / f"candidate.{n}.safetensors") for n, case in enumerate(candidates)]
        runner.open(graph, form)
        expected = [case.outputs or runner.answer(file) for case, file in zip(candidates, tried, strict=True)]
        known = [(file, case.outputs or runner.answer(file)) for case, file in zip(kept, always, strict=True)]
        drawn = Mutants(graph, name)
        left: list[tuple[Mutant, frozenset[int]]] = []
        made = already = 0
        for site in drawn.draw(seed):
            if made == mutants or time.monotonic() > deadline:
                break
            try:
                drawn.write(site, work / "mutant.onnx")
                runner.open(work / "mutant.onnx", form)
                # What can't be run at a case is noticed there, unless it can't be run at all.
                before = _noticing(runner, known, tolerance, first=True)
                found = frozenset() if before else _noticing(runner, list(zip(tried, expected, strict=True)), tolerance)
            except (Unchanged, StageError, TaskFailed):
                continue
            made += 1
            already += bool(before)
            if not before:
                left.append((site.mutant, found))
    order = _cover([found for _, found in left], len(candidates), most)
    missed = tuple(mutant for mutant, found in left if not found & set(order))
    return Choice(tuple(candidates[n] for n in order), made, already, made - len(missed), missed)


def _noticing(
    runner: Runner, cases: Sequence[tuple[Case[Path], Arrays]], tolerance: Tolerance, first: bool = False
) -> frozenset[int]:
    """The numbers of the cases that the open mutant fails; with `first`, of the first such alone. TaskFailed where it runs
    at none of them."""
    noticed: set[int] = set()
    failed = 0
    for number, (case, expected) in enumerate(cases):
        try:
            fine = passed(check_case(case, expected, runner.answer(case), tolerance))
        except TaskFailed:
            failed += 1
            if failed == len(cases):
                raise
            fine = False
        if not fine:
            noticed.add(number)
            if first and failed < number + 1:
                break
    return frozenset(noticed)


def _cover(kills: Sequence[frozenset[int]], candidates: int, most: int | None) -> list[int]:
    """Candidates, greedily: always the one that notices most of what is left; of equals the one named first."""
    left = [found for found in kills if found]
    order: list[int] = []
    while left and (most is None or len(order) < most):
        counts = [sum(number in found for found in left) for number in range(candidates)]
        best = int(np.argmax(counts))
        order.append(best)
        left = [found for found in left if best not in found]
    return order


def _stored(case: Case[Arrays], file: Path) -> Case[Path]:
    write_tensors(file, case.inputs)
    return Case(case.name, case.sizes, file, file)
