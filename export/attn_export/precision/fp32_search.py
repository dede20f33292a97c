"""Which nodes must stay in fp32 so that the answers hold: what overflows, then what its rounding moves too far.

The unit is a tensor. To leave it unrounded, the node that makes it and those that read it stay in fp32, and so does
what moves it between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from attn_runtime.bundle.reader import Case
from attn_runtime.compare import Tolerance
from attn_runtime.errors import PassError
from safetensors.numpy import load_file

from ..isolate import Isolated, TaskFailed
from ..parity.judge import Check, passed, worst
from ..parity.recorded import ReferenceSet, check
from .activations import STANDS_FOR_INFINITY, compare_intermediates
from .emulation import rounded
from .modelopt_autocast import LIMIT, Cast, autocast, computes, fp32_nodes
from .sensitivity import Sensitivity, measure_sensitivity

#: Conversions tried in one search, and again to drop what is not needed.
MOST_ATTEMPTS, MOST_DROPS = 12, 8
#: A search that keeps more than this share of the arithmetic has failed: nothing of half precision would be left.
MOST_KEPT = 0.5
#: Where the roundings that are left over are expected to end, as a share of the limit; they add up like noise.
_AIM = 0.7


@dataclass(frozen=True)
class Conversion:
    """One graph to convert.

    source      fp32, with a unique name on every node
    work        a folder for attempts
    largest     max|value| of its tensors at the record's inputs
    large       whether its weights lie beside it
    """

    source: Path
    kind: str
    record: ReferenceSet
    tolerance: Tolerance
    half_io: bool
    isolated: Isolated
    work: Path
    largest: Mapping[str, float]
    large: bool = False

    @property
    def saturate(self) -> list[str]:
        """Tensors that hold numbers which stand for infinity."""
        return [name for name, most in self.largest.items() if most >= STANDS_FOR_INFINITY]

    def overflows(self, node: onnx.NodeProto) -> bool:
        """Whether the node reads or makes values beyond the type's limit that are meant as they are."""
        reached = [self.largest.get(name, 0.0) for name in (*node.output, *node.input)]
        return any(LIMIT[self.kind] < most < STANDS_FOR_INFINITY for most in reached)


@dataclass(frozen=True)
class Candidate:
    """A typed graph and what its twin answered. `keep` is what was asked for, `cast.in_fp32` what came of it."""

    cast: Cast
    twin: Path
    keep: frozenset[str]
    checks: tuple[Check, ...]

    @property
    def in_fp32(self) -> frozenset[str]:
        """Every node that is in fp32, those that only move values included."""
        return frozenset((*self.cast.in_fp32, *self.cast.moved_in_fp32))

    @property
    def passed(self) -> bool:
        return passed(self.checks)

    @property
    def ratio(self) -> float:
        return worst(self.checks).ratio


@dataclass(frozen=True)
class SearchResult:
    """The end of a search. `blames` holds, per tensor kept for drift, what its rounding alone does to the answers."""

    best: Candidate
    attempts: int
    blames: tuple[Sensitivity, ...] = ()

    @property
    def fp32_tensors(self) -> frozenset[str]:
        """Tensors that are in fp32 in the typed graph."""
        model = onnx.load(self.best.cast.path, load_external_data=False)
        return frozenset(name for node in fp32_nodes(model) for name in node.output)

    @property
    def passed(self) -> bool:
        return self.best.passed


def start(job: Conversion) -> Candidate:
    """AutoCast's own choice, by the ranges that it sees at the record's inputs."""
    folder = job.work / "calibration"
    folder.mkdir()
    wanted = {v.name for v in onnx.load(job.source, load_external_data=False).graph.input}
    for number, path in enumerate(job.record.inputs):
        inputs: dict[str, Any] = {n: v for n, v in load_file(path).items() if n in wanted}
        np.savez(folder / f"{number:04}.npz", **inputs)
    return _judged(job, _cast(job, "start", calibration=folder), frozenset())


def attempt(job: Conversion, keep: frozenset[str], name: str) -> Candidate:
    """Exactly `keep` in fp32, and what has no half precision."""
    return _judged(job, _cast(job, name, keep=sorted(keep)), keep)


def plain(job: Conversion) -> Candidate:
    """Everything in half precision, whatever its range: what a conversion without a check gives."""
    return attempt(replace(job, largest={}), frozenset(), "plain")


def _cast(job: Conversion, name: str, *, calibration: Path | None = None, keep: Sequence[str] = ()) -> Cast:
    folder = job.work / name
    folder.mkdir(exist_ok=True)
    return autocast(
        job.source,
        folder / "typed.onnx",
        job.kind,
        job.isolated,
        calibration=calibration,
        keep=keep,
        saturate=job.saturate,
        half_io=job.half_io,
    )


def _judged(job: Conversion, cast: Cast, keep: frozenset[str]) -> Candidate:
    twin, checks = judge(job, cast.path)
    return Candidate(cast, twin, keep, tuple(checks))


def judge(job: Conversion, typed: Path) -> tuple[Path, list[Check]]:
    """The rounded twin of `typed`, written beside it, and its answers against the record.

    An engine may round between any two operators, or nowhere inside what it fuses: of both ends, each check is the worse.
    """
    model = onnx.load(typed, load_external_data=False)
    twins = {between: typed.with_name(f"twin{'' if between else '-fused'}.onnx") for between in (True, False)}
    found: dict[bool, list[Check]] = {}
    for between, twin in twins.items():
        onnx.save(rounded(model, between), twin)
        try:
            found[between] = check(twin, job.record, job.tolerance, job.work, job.isolated, job.large)
        except TaskFailed as problem:
            raise PassError(f"the {job.kind} graph can't be run: {problem}") from problem
        if not passed(found[between]):
            return twins[True], found[between]
    return twins[True], [max(both, key=lambda c: c.ratio) for both in zip(*found.values(), strict=True)]


def search(job: Conversion, first: Candidate) -> SearchResult:
    """From a first attempt to one that passes with few nodes in fp32; the best one found, passed or not."""
    settled = SearchResult(first, 1) if first.passed else _search(job, first)
    return _dropped(job, settled) if settled.passed else settled


def _search(job: Conversion, first: Candidate) -> SearchResult:
    """Leave unrounded what moves the answers most, until they hold."""
    wiring = Wiring(onnx.load(job.source, load_external_data=False))
    best, keep, tried = first, first.in_fp32, 1
    chosen: dict[str, Sensitivity] = {}
    while not best.passed and tried < MOST_ATTEMPTS:
        blames = [
            b
            for b in measure_sensitivity(job.source, best.twin, [_worst_case(best)], job.tolerance, job.isolated)
            if b.ratio > 0
        ]
        fresh = [b for b in blames if not wiring.carriers(b.tensor) <= keep]
        before, count = best, _needed(fresh)
        while fresh and tried < MOST_ATTEMPTS:
            wanted = keep | {n for b in fresh[:count] for n in wiring.carriers(b.tensor)}
            if wiring.share(wanted) > MOST_KEPT:
                break
            tried += 1
            now = attempt(job, wanted, f"attempt{tried}")
            if now.passed or now.ratio < best.ratio:
                best = now
            if now.passed or count == len(fresh):
                break
            count = min(len(fresh), count + max(1, count // 2))
        if best is before:
            break
        keep = best.in_fp32
        chosen |= {b.tensor: b for b in fresh if wiring.carriers(b.tensor) <= best.keep}
    return SearchResult(best, tried, tuple(chosen.values()))


def _worst_case(found: Candidate) -> Case[Path]:
    return worst(found.checks).case


def _needed(blames: Sequence[Sensitivity]) -> int:
    """How many of the worst must go so that the rest, as independent noise, ends under the limit."""
    left = sum(min(b.ratio, 1e9) ** 2 for b in blames)
    for count, each in enumerate(blames):
        if left <= _AIM**2:
            return max(1, count)
        left -= min(each.ratio, 1e9) ** 2
    return len(blames)


def _dropped(job: Conversion, settled: SearchResult) -> SearchResult:
    """Try without what was kept, all of it first, then halves, down to single nodes.

    What overflows with a value that is meant stays: it would pass by luck. A number that stands for infinity may be the
    type's own limit, as long as the answers hold and nothing turns infinite or NaN that was not in fp32.
    """
    wiring = Wiring(onnx.load(job.source, load_external_data=False))
    best, tries = settled.best, 0
    droppable = [n.name for n in wiring.model.graph.node if n.name in set(best.cast.in_fp32) and not job.overflows(n)]
    size = len(droppable)
    while size and tries < MOST_DROPS:
        for start in range(0, len(droppable), size):
            chunk = set(droppable[start : start + size])
            wanted = wiring.with_moves(frozenset(best.cast.in_fp32) - chunk, best.in_fp32)
            if not chunk or tries == MOST_DROPS:
                break
            tries += 1
            now = attempt(job, wanted, f"drop{tries}")
            if now.passed and len(now.cast.in_fp32) < len(best.cast.in_fp32) and _stays_finite(job, now):
                best = now
        droppable = [name for name in droppable if name in set(best.cast.in_fp32)]
        size = min(size, len(droppable) + 1) // 2
    return replace(settled, best=best, attempts=settled.attempts + tries)


def _stays_finite(job: Conversion, now: Candidate) -> bool:
    """Whether what was finite in fp32 is; only values near the type's limit can have become infinite."""
    made = {name for node in onnx.load(now.twin, load_external_data=False).graph.node for name in node.output}
    names = [name for name, most in job.largest.items() if name in made and most > LIMIT[job.kind] / 2]
    found = compare_intermediates(job.source, now.twin, names, job.record.inputs, job.isolated)
    return not any(s.lost for s in found.values())


class Wiring:
    """The fp32 graph, to find out which nodes must stay in fp32 for a tensor to stay unrounded."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self._producer = {name: node for node in model.graph.node for name in node.output}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self.computing = {n.name for n in model.graph.node if computes(n)}

    def carriers(self, tensor: str) -> frozenset[str]:
        """Names of the node that makes `tensor`, those that compute with it, and what moves it between them."""
        found: dict[str, onnx.NodeProto] = {}
        self._up(tensor, found)
        for name in [tensor, *(o for n in list(found.values()) if not computes(n) for o in n.output)]:
            self._down(name, found)
        return frozenset(found)

    def with_moves(self, kept: frozenset[str], before: frozenset[str]) -> frozenset[str]:
        """`kept`, and of `before` what moves values to or from it."""
        found: dict[str, onnx.NodeProto] = {}
        for node in self.model.graph.node:
            if node.name in kept:
                for name in node.input:
                    self._up(name, found)
                for name in node.output:
                    self._down(name, found)
        return kept | {n.name for n in found.values() if not computes(n) and n.name in before}

    def share(self, kept: frozenset[str]) -> float:
        """Of the nodes that do arithmetic, the part that is in `kept`."""
        return len(self.computing & kept) / max(1, len(self.computing))

    def _up(self, tensor: str, found: dict[str, onnx.NodeProto]) -> None:
        node = self._producer.get(tensor)
        if node is None or node.name in found:
            return
        found[node.name] = node
        if not computes(node):
            for name in node.input:
                self._up(name, found)

    def _down(self, tensor: str, found: dict[str, onnx.NodeProto]) -> None:
        for node in self._readers.get(tensor, ()):
            if node.name in found:
                continue
            found[node.name] = node
            if not computes(node):
                for name in node.output:
                    self._down(name, found)
