"""Which nodes must stay in fp32 so that the answers hold: what overflows, then what its rounding moves too far.

The unit is a tensor. To leave it unrounded, the node that makes it and those that read it stay in fp32, and so does
what moves it between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import onnx
from attn_runtime.child_process import ChildProcess, TaskFailed
from attn_runtime.compare import Tolerance
from attn_runtime.errors import PassError

from ...parity import Check, ReferenceSet, check, passed, worst
from ..layerwise import (
    STANDS_FOR_INFINITY,
    Sensitivity,
    compare_intermediates,
    in_source,
    measure_sensitivity,
    tensor_names,
)
from ..schemes import HalfScheme
from ..typed import Cast, computes, nodes_in_fp32, read_cast
from .always_fp32 import by_kind, without_kernel
from .masks import absorb, constants_beyond, mask_tensors, zero_one_inputs

#: Conversions tried in one search, and again to drop what is not needed.
MAX_CANDIDATES, MAX_DROPS = 12, 8
#: Kinds of operators that may turn out to have no kernel, one after the other.
_MOST_KINDS = 8
#: A search that leaves more than this share of the arithmetic in fp32 has failed, what always stays there aside: nothing of
#: half precision would be left.
MAX_FP32_SHARE = 0.5
#: Where the roundings that are left over are expected to end, as a share of the limit; they add up like noise.
_AIM = 0.7


@dataclass(frozen=True)
class Conversion:
    """One graph to convert.

    source      fp32, with a unique name on every node
    work        a folder for candidates
    largest     max|value| of its tensors at the record's inputs
    large       whether its weights lie beside it
    own_limits  whether outputs get limits of their own, as narrow as was measured: not where the user named one
    absorbing   whether the sum of a mask and scores is written as the mask where it masks (masks.py)
    refused     nodes without a kernel of the type and why, as far as one was tried; grows while candidates are made
    """

    source: Path
    scheme: HalfScheme
    record: ReferenceSet
    tolerance: Tolerance
    half_io: bool
    isolated: ChildProcess
    work: Path
    largest: Mapping[str, float]
    large: bool = False
    own_limits: bool = True
    absorbing: bool = False
    refused: dict[str, str] = field(default_factory=dict)

    @cached_property
    def consumers(self) -> NodeConsumers:
        """The fp32 graph, read once."""
        return NodeConsumers(onnx.load(self.source, load_external_data=False))

    @cached_property
    def always_fp32(self) -> Mapping[str, str]:
        """Nodes that stay in fp32 whatever their range, and why; those without a kernel are in `refused`."""
        return by_kind(self.consumers.model)

    @cached_property
    def constants(self) -> Mapping[str, tuple[float, bool]]:
        """Weights and constants beyond the type's limit."""
        return constants_beyond(self.consumers.model, self.source.parent, self.scheme.max_finite)

    @cached_property
    def masks(self) -> frozenset[str]:
        """Tensors beyond the limit that hold a mask's number, as -1e9, and end in softmaxes."""
        return self._masks_with(self.zero_one)

    def _masks_with(self, zero_one: frozenset[str]) -> frozenset[str]:
        return mask_tensors(self.consumers.model, self.constants, self.reach, self.scheme.max_finite, zero_one)

    @cached_property
    def zero_one(self) -> frozenset[str]:
        """Float inputs that the record's cases fill with 0 and 1 alone."""
        return zero_one_inputs(self.record.inputs) if self.constants else frozenset()

    @property
    def caller_masks(self) -> bool:
        """Whether masks are made of such inputs. Their cases are the user's, and need not have a row that is masked whole."""
        return bool(self.zero_one) and self.masks != self._masks_with(frozenset())

    @property
    def saturate(self) -> list[str]:
        """Tensors that hold numbers which stand for infinity."""
        return [name for name, most in self.largest.items() if most >= STANDS_FOR_INFINITY or name in self.masks]

    @property
    def always(self) -> frozenset[str]:
        """All nodes that stay in fp32 whatever their range."""
        return frozenset((*self.always_fp32, *self.refused))

    def why_always(self, node: str) -> str | None:
        """Why the node stays in fp32 whatever its range; None where that depends."""
        return self.always_fp32.get(node) or self.refused.get(node)

    def reach(self, name: str) -> float:
        """max|value| of a tensor or a weight, as far as it matters."""
        return max(self.largest.get(name, 0.0), self.constants.get(name, (0.0, True))[0])

    def overflows(self, node: onnx.NodeProto) -> bool:
        """Whether the node reads or makes values beyond the type's limit that are meant as they are."""
        names = [name for name in (*node.output, *node.input) if name not in self.masks]
        return any(self.scheme.max_finite < self.reach(name) < STANDS_FOR_INFINITY for name in names)

    def masked(self, node: onnx.NodeProto) -> bool:
        """Whether it reads or makes numbers that stand for infinity."""
        names = {*node.output, *node.input}
        return bool(names & self.masks) or any(self.reach(name) >= STANDS_FOR_INFINITY for name in names)


@dataclass(frozen=True)
class Candidate:
    """A typed graph and what its emulated graph answered. `fp32_nodes` is what was asked for, `cast.in_fp32` what came of it."""

    cast: Cast
    emulated: Path
    fp32_nodes: frozenset[str]
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
    """The end of a search. `drifting` holds, per tensor left unrounded for drift, what its rounding alone does to the answers."""

    best: Candidate
    candidates: int
    drifting: tuple[Sensitivity, ...] = ()

    @property
    def fp32_tensors(self) -> frozenset[str]:
        """Tensors that are in fp32 in the typed graph."""
        model = onnx.load(self.best.cast.path, load_external_data=False)
        return frozenset(name for node in nodes_in_fp32(model) for name in node.output)

    @property
    def passed(self) -> bool:
        return self.best.passed


def start(conversion: Conversion) -> Candidate:
    """In fp32 what overflows at the record's inputs with values that are meant, and nothing else."""
    nodes = conversion.consumers.model.graph.node
    return candidate(conversion, frozenset(n.name for n in nodes if conversion.overflows(n)), "start")


def candidate(
    conversion: Conversion, fp32_nodes: frozenset[str], name: str, converted: Cast | None = None
) -> Candidate:
    """Exactly `fp32_nodes` in fp32, and what has no half precision. `converted` is that already, where it is there."""
    for _ in range(_MOST_KINDS):
        cast, converted = converted or _cast(conversion, name, fp32_nodes), None
        emulated, checks = judge(conversion, cast.path)
        refused = _refused(conversion, cast) if passed(checks) else {}
        if not refused:
            break
        conversion.refused.update(refused)
    return Candidate(cast, emulated, fp32_nodes, tuple(checks))


def plain(conversion: Conversion) -> Candidate:
    """Everything in half precision, whatever its range: what a conversion without a check gives."""
    return candidate(replace(conversion, largest={}), frozenset(), "plain")


def _cast(conversion: Conversion, name: str, fp32_nodes: frozenset[str]) -> Cast:
    folder = conversion.work / name
    folder.mkdir(exist_ok=True)
    typed = folder / "typed.onnx"
    conversion.scheme.convert(
        conversion.source,
        typed,
        conversion.scheme,
        conversion.isolated,
        fp32_nodes=sorted(fp32_nodes | conversion.always),
        saturate=conversion.saturate,
        half_io=conversion.half_io,
    )
    return _absorbed(conversion, typed) if conversion.absorbing else read_cast(typed)


def _absorbed(conversion: Conversion, typed: Path) -> Cast:
    """The converted graph with sums of masks written as they are meant, beside `typed`, whose data it shares."""
    saturated, known = set(conversion.saturate), tensor_names(conversion.consumers.model)
    done = absorb(
        onnx.load(typed, load_external_data=False),
        typed.parent,
        lambda name: in_source(name, known) in saturated,
        conversion.scheme.onnx_type,
        conversion.scheme.max_finite,
    )
    if done is not None:
        typed = typed.with_name("absorbing.onnx")
        onnx.save(done, typed)
    return read_cast(typed)


def _refused(conversion: Conversion, cast: Cast) -> dict[str, str]:
    if not conversion.scheme.runs_on_cpu:
        return {}
    smallest = min(conversion.record.inputs, key=lambda path: path.stat().st_size)
    known = {**conversion.always_fp32, **conversion.refused}
    return without_kernel(cast.path, smallest, known, conversion.half_io, conversion.large, conversion.isolated)


def judge(conversion: Conversion, typed: Path) -> tuple[Path, list[Check]]:
    """The emulated graph of `typed`, written beside it, and its answers against the record.

    An engine may round between any two operators, or nowhere inside what it fuses: of both ends, each check is the worse.
    """
    model = onnx.load(typed, load_external_data=False)
    graphs = {between: typed.with_name(f"emulated{'' if between else '-fused'}.onnx") for between in (True, False)}
    checks: dict[bool, list[Check]] = {}
    for between, emulated in graphs.items():
        onnx.save(conversion.scheme.emulate(model, between), emulated)
        try:
            checks[between] = check(
                emulated,
                conversion.record,
                conversion.tolerance,
                conversion.work,
                conversion.isolated,
                conversion.large,
                half_io=conversion.half_io,
            )
        except TaskFailed as problem:
            raise PassError(f"the {conversion.scheme.name} graph can't be run: {problem}") from problem
        if not passed(checks[between]):
            return graphs[True], checks[between]
    return graphs[True], [worst(both) for both in zip(*checks.values(), strict=True)]


def search(conversion: Conversion, first: Candidate) -> SearchResult:
    """From a first candidate to one that passes with few nodes in fp32; the best one found, passed or not."""
    conversion, first = _with_masks(conversion, first)
    result = SearchResult(first, 1) if first.passed else _search(conversion, first)
    return _dropped(conversion, result) if result.passed else result


def _with_masks(conversion: Conversion, first: Candidate) -> tuple[Conversion, Candidate]:
    """How masks are held: as the type's least number; where that fails or overflows, absorbing; last, in fp32."""
    if not conversion.saturate or (not conversion.caller_masks and _holds(conversion, first)):
        return conversion, first
    absorbing = replace(conversion, absorbing=True)
    done = _absorbed(absorbing, first.cast.path)
    if _holds(absorbing, now := candidate(absorbing, first.fp32_nodes, "absorbing", done)):
        return absorbing, now
    masked = frozenset(n.name for n in conversion.consumers.model.graph.node if conversion.masked(n))
    if _holds(conversion, full := candidate(conversion, first.fp32_nodes | masked, "masks")):
        return conversion, full
    best = min(now, full, key=lambda one: one.ratio)
    return (absorbing if best is now else conversion), best


def _holds(conversion: Conversion, one: Candidate) -> bool:
    return one.passed and _stays_finite(conversion, one)


def _search(conversion: Conversion, first: Candidate) -> SearchResult:
    """Leave unrounded what moves the answers most, until they hold."""
    graph = conversion.consumers
    best, fp32_nodes, tried = first, first.in_fp32, 1
    chosen: dict[str, Sensitivity] = {}
    while not best.passed and tried < MAX_CANDIDATES:
        case = worst(best.checks).case
        measured = measure_sensitivity(
            conversion.source,
            best.emulated,
            [case],
            conversion.tolerance,
            conversion.isolated,
            half_io=conversion.half_io,
        )
        open_ones = [s for s in measured if s.ratio > 0 and not graph.carriers(s.tensor) <= fp32_nodes]
        most = _most(graph, open_ones, fp32_nodes, conversion.always)
        before, count = best, min(most, _needed(open_ones))
        while count and tried < MAX_CANDIDATES:
            requested = fp32_nodes | {n for s in open_ones[:count] for n in graph.carriers(s.tensor)}
            tried += 1
            now = candidate(conversion, requested, f"candidate{tried}")
            if now.passed or now.ratio < best.ratio:
                best = now
            if now.passed or count == most:
                break
            count = min(most, count + max(1, count // 2))
        if best is before:
            break
        fp32_nodes = best.in_fp32
        chosen |= {s.tensor: s for s in open_ones if graph.carriers(s.tensor) <= best.fp32_nodes}
    return SearchResult(best, tried, tuple(chosen.values()))


def _most(
    graph: NodeConsumers, sensitivities: Sequence[Sensitivity], fp32_nodes: frozenset[str], always: frozenset[str]
) -> int:
    """How many of the worst can go before too large a part of the arithmetic is in fp32."""
    for count, each in enumerate(sensitivities):
        fp32_nodes |= graph.carriers(each.tensor)
        if graph.share(fp32_nodes, always) > MAX_FP32_SHARE:
            return count
    return len(sensitivities)


def _needed(sensitivities: Sequence[Sensitivity]) -> int:
    """How many of the worst must go so that the rest, as independent noise, ends under the limit."""
    left = sum(min(s.ratio, 1e9) ** 2 for s in sensitivities)
    for count, each in enumerate(sensitivities):
        if left <= _AIM**2:
            return max(1, count)
        left -= min(each.ratio, 1e9) ** 2
    return len(sensitivities)


def _dropped(conversion: Conversion, result: SearchResult) -> SearchResult:
    """Try without what is in fp32, all of it first, then halves, down to single nodes.

    What overflows with a value that is meant stays: it would pass by luck. A number that stands for infinity may be the
    type's own limit, as long as the answers hold and nothing turns infinite or NaN that was not in fp32.
    """
    graph = conversion.consumers
    best, tries = result.best, 0
    droppable = [
        n.name
        for n in graph.model.graph.node
        if n.name in set(best.cast.in_fp32) and not conversion.overflows(n) and conversion.why_always(n.name) is None
    ]
    size = len(droppable)
    while size and tries < MAX_DROPS:
        for start in range(0, len(droppable), size):
            chunk = set(droppable[start : start + size])
            requested = graph.with_moves(frozenset(best.cast.in_fp32) - chunk, best.in_fp32)
            if not chunk or tries == MAX_DROPS:
                break
            tries += 1
            now = candidate(conversion, requested, f"drop{tries}")
            if now.passed and len(now.cast.in_fp32) < len(best.cast.in_fp32) and _stays_finite(conversion, now):
                best = now
        droppable = [name for name in droppable if name in set(best.cast.in_fp32)]
        size = min(size, len(droppable) + 1) // 2
    return replace(result, best=best, candidates=result.candidates + tries)


def _stays_finite(conversion: Conversion, now: Candidate) -> bool:
    """Whether what was finite in fp32 is; only values near the type's limit can have become infinite."""
    made = {name for node in onnx.load(now.emulated, load_external_data=False).graph.node for name in node.output}
    close = conversion.scheme.max_finite / 2
    names = [name for name, largest in conversion.largest.items() if name in made and largest > close]
    if not names:
        return True
    spreads = compare_intermediates(
        conversion.source, now.emulated, names, conversion.record.inputs, conversion.isolated
    )
    return not any(s.lost for s in spreads.values())


class NodeConsumers:
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

    def with_moves(self, fp32_nodes: frozenset[str], before: frozenset[str]) -> frozenset[str]:
        """`fp32_nodes`, and of `before` what moves values to or from it."""
        found: dict[str, onnx.NodeProto] = {}
        for node in self.model.graph.node:
            if node.name in fp32_nodes:
                for name in node.input:
                    self._up(name, found)
                for name in node.output:
                    self._down(name, found)
        return fp32_nodes | {n.name for n in found.values() if not computes(n) and n.name in before}

    def share(self, fp32_nodes: frozenset[str], aside: frozenset[str] = frozenset()) -> float:
        """Of the nodes that do arithmetic, but for those in `aside`, the part that is in `fp32_nodes`."""
        computing = self.computing - aside
        return len(computing & fp32_nodes) / max(1, len(computing))

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
