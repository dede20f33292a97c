"""Golden cases beyond the usual ones: of cases that are drawn, those that notice changes of the graph that the usual ones
do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir
from attn_runtime.bundle import Arrays, Case
from attn_runtime.child_process import ChildProcess

from ..console import Console
from ..mutation import Mutant, candidates, choose_by_power, notes
from ..onnx_graph import EXTERNAL_FROM_BYTES, load, read_info
from ..reference import MOST_BYTES, run_module
from .types import Export, ExportOptions, GraphExport, Power

#: Golden cases that a graph gets at most, so that bundles stay small and `verify` quick.
_MOST = 4
#: Between the seed of an export and that of the changes and the candidates, so that no other case has these inputs, and that
#: `verify --mutate` measures with other changes than those that the cases were chosen by.
_SEED = 50_000
#: What a changed graph may take for one case, in seconds: it may run in circles.
_SECONDS = 60.0
#: A smaller share of changes that are noticed is low, and has a reason.
_LOW = 0.9


def add_by_power(done: Export, places: Mapping[str, Path], options: ExportOptions, console: Console) -> None:
    """Try the golden cases of each graph, at `places`, on `options.mutate` changes of it, and add those of further cases
    that notice more. Graphs of large weights are left as they are, with a note.

    Raises ParityError where a graph does not answer one of the further cases as PyTorch does.
    """
    tried: dict[str, ir.Model] = {}
    missed: list[Mutant] = []
    answers: list[Arrays] = []
    for name, work in done.graphs.items():
        place = places[name]
        if (size := read_info(place).weight_bytes) >= EXTERNAL_FROM_BYTES:
            console.note(
                f"{work.label}--mutate: weights of {size / 1e6:.0f} MB are changed and written too slowly; the golden cases "
                "are the usual ones"
            )
            continue
        label = name if len(done.graphs) > 1 else ""
        with console.stage("mutate") as line:
            found, answers = _add(work, place, label, MOST_BYTES // len(done.graphs), options)
            missed.extend(found)
            tried[label] = load(place)
            line.done(f"{work.label}{work.power}")
    powers = [work.power for work in done.graphs.values() if work.power is not None]
    if sum(power.noticed for power in powers) < _LOW * sum(power.tried for power in powers):
        for note in notes(done.source.provenance, tried, missed, answers, "changes that no case notices"):
            console.note(note)


def _add(
    work: GraphExport, place: Path, label: str, most_bytes: int, options: ExportOptions
) -> tuple[Sequence[Mutant], list[Arrays]]:
    """Add to the golden cases of one graph. What no case notices, and PyTorch's answers to different inputs of one size."""
    seed = options.seed + _SEED
    drawn = candidates(
        work.inputs,
        work.signature.draw,
        lambda case, inputs: run_module(work.signature, case, inputs),
        work.tolerance,
        seed,
        dependent=work.signature.dependent,
        most_bytes=most_bytes,
    )
    stages = [stage.name for stage in work.stages]
    checks = work.checker.hold(place, f"{work.label}{stages[-1]}", drawn, stages[:-1])
    with ChildProcess(min(options.stage_seconds, _SECONDS)) as child:
        choice = choose_by_power(
            place, drawn, work.tolerance, options.mutate, kept=sorted(work.golden, key=_bytes), most=_MOST, seed=seed,
            name=label, child=child,
        )  # fmt: skip
    by_name = {case.name: case for case in drawn}
    names = {case.name: f"power-{number}" for number, case in enumerate(choice.cases, 1)}
    work.golden.extend(replace(by_name[what], name=name) for what, name in names.items())
    # The last stage's graph was held against them as well.
    verdict = work.stages[-1].verdict
    held = [replace(c, case=replace(c.case, name=names[c.case.name])) for c in checks if c.case.name in names]
    work.stages[-1].verdict = replace(verdict, checks=[*verdict.checks, *held])
    work.power = Power(seed, choice.made, choice.already, choice.caught, {name: what for what, name in names.items()})
    return choice.missed, [case.outputs for case in drawn if case.sizes == drawn[0].sizes]


def _bytes(case: Case[Arrays]) -> int:
    return sum(value.nbytes for value in case.inputs.values())
