"""One fp32 graph, its record, and the strongly typed graph that holds against it: the core of half precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from attn_runtime.bundle import AttentionBlock
from attn_runtime.child_process import TaskFailed
from attn_runtime.compare import Tolerance
from attn_runtime.errors import ParityError, PassError
from attn_runtime.onnx_file import Node, read_graph
from attn_runtime.ort import answer_files
from attn_runtime.text_format import finite_or_none

from ...attention import find_blocks
from ...console import Console
from ...onnx_graph import info_of, load, read_info
from ...parity import Check, parity_error, passed, worst
from ...passes import attention, tensorrt
from ..layerwise import STANDS_FOR_INFINITY, compare_graphs, limit_text, short
from . import fp32_search
from .always_fp32 import NORM
from .fp32_search import Candidate, Conversion, NodeConsumers, SearchResult
from .further_cases import Further, FurtherCases, extended, hold

#: A search that ends in a graph which fails beyond the record is begun again with what failed, so often, and with so many of
#: the cases that failed.
_MOST_SEARCHES, _MOST_ADDED = 4, 2
#: How much further than the emulated graph a typed one may be off on other machines, which round at other places.
_TIMES_ROUNDING = 4.0
#: Beyond this share of a type's greatest number, unseen inputs may well overflow.
_CLOSE = 0.5


@dataclass(frozen=True)
class TypedGraph:
    """A graph in half precision that holds against its record.

    name        in the manifest: the scheme's, with "-trt" behind it where TensorRT alone takes the file
    type        of its arithmetic, as the manifest calls it
    graph       which graph of the bundle it is of
    fp32_nodes  nodes that do arithmetic and stay in fp32: {"node", "operator", "module", "reason"}
    share       of all nodes that do arithmetic, the part that is in fp32
    blocks      its attention blocks
    checks      one per case and output
    target      the engine that the file was made for; None for any
    further     how it answered beyond the record: at the declared corners and between them
    quantised   what of it is quantised and how, as the manifest says it; None for a graph in half precision
    front       what fewer and more quantised weights came to: error, bytes, milliseconds
    largest     the greatest magnitude that is in half precision here, at the record's inputs
    """

    name: str
    path: Path
    type: str
    graph: str
    fp32_nodes: tuple[Mapping[str, str], ...]
    share: float
    blocks: tuple[AttentionBlock, ...]
    tolerance: Tolerance
    checks: tuple[Check, ...]
    half_io: bool
    nodes_before: int
    nodes_after: int
    largest: float
    note: str = ""
    target: str | None = None
    further: Further = Further()  # noqa: RUF009  it is frozen
    quantised: Mapping[str, Any] | None = None
    front: tuple[Mapping[str, Any], ...] = ()

    @property
    def worst(self) -> float:
        """The largest error over all cases, of max|reference| of its tensor."""
        return max(c.difference.relative_error for c in (*self.checks, *self.further.checks))

    @property
    def argmax_agreement(self) -> float | None:
        """Of a classifier: the share of rows with the reference's class, at the worst case. None for others."""
        return min((c.argmax_agreement for c in self.checks if c.argmax_agreement is not None), default=None)

    def own_limits(self, tolerance: Tolerance, least: float, times: float) -> Tolerance:
        """`tolerance`, with a limit of its own for each output that was measured `times` nearer; none is under `least`."""
        measured: dict[str, float] = {}
        for one in (c.difference for c in (*self.checks, *self.further.checks)):
            if one.limit and one.max_reference:
                measured[one.output] = max(measured.get(one.output, 0.0), one.max_error / one.max_reference)
        rtols = {name: max(least, times * error) for name, error in measured.items()}
        narrower = {name: rtol for name, rtol in rtols.items() if rtol < tolerance.of(name).rtol}
        return replace(tolerance, rtols={**tolerance.rtols, **narrower})

    @property
    def fp32_lines(self) -> list[str]:
        """Per place, what stays in fp32 and why: "kept in fp32: layers.3.attention (overflow 9.1e4 > 65504)". Norms share one."""
        return _lines(self.fp32_nodes)

    def to_json(self) -> dict[str, Any]:
        return {
            "precision": self.name,
            "graph": self.graph,
            "path": str(self.path),
            "kept": [dict(n) for n in self.fp32_nodes],
            "kept_share": self.share,
            "worst_relative_error": self.worst,
            "argmax_agreement": self.argmax_agreement,
            "tolerance": self.tolerance.to_json(),
            "half_io": self.half_io,
            "largest_in_half": finite_or_none(self.largest),
            "nodes_before": self.nodes_before,
            "nodes_after": self.nodes_after,
            "attention": [b.to_json() for b in self.blocks],
            "checks": [c.to_json() for c in self.checks],
            "declared_checks": [c.to_json() for c in self.further.declared],
            "sizes_between": self.further.asked,
            "note": self.note,
            **(
                {}
                if self.quantised is None
                else {"quantised": dict(self.quantised), "front": [dict(p) for p in self.front]}
            ),
        }


def convert_graph(
    conversion: Conversion,
    graph: str,
    console: Console,
    first: Candidate | None = None,
    cases: FurtherCases = FurtherCases(),  # noqa: B008  it is frozen
) -> TypedGraph:
    """A typed graph that holds against the record of `conversion`, with as few nodes in fp32 as the search finds.

    `first` is where to start: by default AutoCast's own choice. What fails at one of the further `cases` joins the record,
    and the search begins anew. Raises ParityError, with the first node at fault, when nothing found holds.
    """
    with console.stage(conversion.scheme.name) as line:
        result = fp32_search.search(conversion, first or fp32_search.start(conversion))
        further = Further()
        for again in range(_MOST_SEARCHES):
            if not result.passed:
                raise _failure(conversion, result.best)
            further = hold(conversion, result.best.emulated, cases, conversion.work / f"further{again}")
            if not further.failing:
                break
            conversion = extended(conversion, further.failing[:_MOST_ADDED], conversion.work / f"again{again}")
            result = fp32_search.search(conversion, fp32_search.start(conversion))
        else:
            raise _parity(conversion, further.checks, conversion.scheme.name)
        typed = _tightened(replace(_typed(conversion, graph, result), further=further), conversion)
        count = len(typed.fp32_nodes)
        line.done(f"{typed.nodes_before} -> {typed.nodes_after} nodes, {count} of arithmetic kept in fp32")
    _confirm(conversion, typed.path)
    _report(conversion, typed, console)
    return typed


def for_tensorrt(
    conversion: Conversion,
    typed: TypedGraph,
    console: Console,
    cases: FurtherCases = FurtherCases(),  # noqa: B008  it is frozen
) -> TypedGraph | None:
    """`typed` with attention rewritten so that TensorRT fuses it, and what TensorRT misreads said otherwise, held against the
    record; None where there is nothing of either.

    The weights of a large graph stay in the data file of `typed`, beside which the new file is written.
    """
    path = typed.path.with_name("tensorrt.onnx")
    with console.stage("attention") as line:
        model = load(typed.path)
        done = attention.rewrite(model)
        read = tensorrt.rewrite(model)
        for note in (*done.notes, *read.notes):
            console.note(note)
        changed = (*done.changed, *read.changed)
        if not changed:
            line.done("nothing to rewrite for TensorRT")
            return None
        ir.save(model, path)
        emulated, checks = fp32_search.judge(conversion, path)
        what = f"{typed.name} as rewritten for TensorRT"
        if not passed(checks):
            raise _parity(conversion, checks, what)
        further = hold(conversion, emulated, cases, conversion.work / "further-tensorrt")
        if further.failing:
            raise _parity(conversion, further.checks, what)
        line.done(f"rewritten for TensorRT: {', '.join(changed)}")
    made = replace(
        typed, name=f"{typed.name}-trt", path=path, blocks=find_blocks(model), checks=tuple(checks),
        nodes_before=typed.nodes_after, nodes_after=info_of(model).nodes, note=f"rewritten: {', '.join(changed)}"[:8000],
        target="tensorrt", further=further,
    )  # fmt: skip
    made = _tightened(made, conversion)
    _report(conversion, made, console)
    return made


def _typed(conversion: Conversion, graph: str, result: SearchResult) -> TypedGraph:
    path = result.best.cast.path
    model, before = load(path), read_info(conversion.source)
    fp32_nodes = tuple(_fp32_nodes(conversion, result))
    computing = conversion.consumers.computing
    names = {n["node"] for n in fp32_nodes}
    inside = result.fp32_tensors
    half = [
        v for name, v in conversion.largest.items() if name not in inside | conversion.masks and v < STANDS_FOR_INFINITY
    ]
    return TypedGraph(
        conversion.scheme.name, path, conversion.scheme.type, graph, fp32_nodes, len(names) / max(1, len(computing)),
        find_blocks(model), conversion.tolerance, result.best.checks, conversion.half_io,
        before.nodes, info_of(model).nodes, max(half, default=0.0), "; ".join(_lines(fp32_nodes))[:8000],
    )  # fmt: skip


def _tightened(typed: TypedGraph, conversion: Conversion) -> TypedGraph:
    """With limits of its outputs' own, a few times what rounding was measured at, where the scheme's default would allow more.

    A change of the graph must move an answer by more than its limit to be noticed, and the default is wide for most.
    """
    if not conversion.own_limits:
        return typed
    least = _TIMES_ROUNDING * conversion.scheme.unit_roundoff
    return replace(typed, tolerance=typed.own_limits(conversion.tolerance, least, _TIMES_ROUNDING))


def _lines(fp32_nodes: tuple[Mapping[str, str], ...]) -> list[str]:
    places = dict.fromkeys((n["module"] or n["node"], n["reason"]) for n in fp32_nodes)
    norms = [place for place, reason in places if reason == NORM]
    lines = [f"kept in fp32: {place} ({reason})" for place, reason in places if reason != NORM]
    if norms:
        span = norms[0] if len(norms) == 1 else f"{norms[0]} to {norms[-1]}, {len(norms)} places"
        lines.append(f"kept in fp32: the statistics of norms ({span})")
    return lines


def _fp32_nodes(conversion: Conversion, result: SearchResult) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    source = read_graph(conversion.source, conversion.source.name).node_by_name()
    graph = conversion.consumers
    for name in result.best.cast.in_fp32:
        if name not in source:
            continue  # a Clip before a cast
        node = source[name]
        reason = _reason(conversion, node, result, graph)
        rows.append({"node": name, "operator": node.op_type, "module": node.module, "reason": reason})
    return rows


def _reason(conversion: Conversion, node: Node, result: SearchResult, graph: NodeConsumers) -> str:
    if (always := conversion.why_always(node.name)) is not None:
        return always
    limit = conversion.scheme.max_finite
    largest = max(map(conversion.reach, (*node.outputs, *node.inputs)), default=0.0)
    if largest > limit:
        return f"overflow {short(largest)} > {limit_text(limit)}"
    for drifting in result.drifting:
        if node.name in graph.carriers(drifting.tensor):
            what = "weight" if drifting.weight else "tensor"
            much = f"{short(drifting.ratio)} times what is allowed" if drifting.ratio < 1e9 else "out of all range"
            return f"drift: rounding {what} {drifting.tensor} alone moves the answers {much}"
    return f"{node.op_type} has no {conversion.scheme.name} here"


def _failure(conversion: Conversion, best: Candidate) -> ParityError:
    cases = [(c.name, c.inputs) for c in conversion.record.cases]
    bisection = compare_graphs(
        conversion.source, best.emulated, cases, conversion.isolated, conversion.work, conversion.scheme
    )
    first = bisection.first
    fault = ""
    if first is not None:
        place = f" ({first.source})" if first.source else ""
        reason = first.reason(bisection.limit)
        fault = f"; it parts at {first.label}, node {first.node} ({first.operator}){place}: {reason}"
    return _parity(conversion, best.checks, conversion.scheme.name, fault)


def _parity(conversion: Conversion, checks: Sequence[Check], what: str, fault: str = "") -> ParityError:
    advice = (
        "No small set of nodes in fp32 mends it; allow more with --rtol, or stay in fp32. "
        f"No {conversion.scheme.name} graph was written."
    )
    return parity_error(what, checks, conversion.record.against, fault=fault, advice=advice)


def _confirm(conversion: Conversion, path: Path) -> None:
    """That the typed file itself is a sound graph: onnx's checker, and ONNX Runtime where it has its kernels."""
    try:
        onnx.checker.check_model(str(path), full_check=True)
        if conversion.scheme.runs_on_cpu and not conversion.half_io:
            case = min(conversion.record.cases, key=lambda c: c.inputs.stat().st_size)
            pair = (case.inputs, conversion.work / "confirmed.safetensors")
            what = f"the {conversion.scheme.name} graph itself"
            answer_files(conversion.isolated, what, path, [pair], large=conversion.large, fp16=True)
    except (TaskFailed, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as problem:
        raise PassError(
            f"the {conversion.scheme.name} graph is not sound: {' '.join(str(problem).split())[:400]}"
        ) from problem


def _report(conversion: Conversion, typed: TypedGraph, console: Console) -> None:
    with console.stage("check") as line:
        bad = worst(typed.checks)
        agreement = typed.argmax_agreement
        own = typed.tolerance.rtols.values()
        of_all = len(own) == len({c.difference.output for c in typed.checks})
        kept_to = f"; from here on {max(own):.1e}" if of_all else ""
        beyond = f" and {typed.further.text}" if typed.further.checks else ""
        line.done(
            f"{typed.name} = {conversion.record.against} at {len(conversion.record.cases)} shapes{beyond}, "
            f"worst error {typed.worst:.1e} of max|reference| (allowed {conversion.tolerance.rtol:.0e}, "
            f"{bad.ratio:.0%} of the limit{kept_to})"
            + (f", argmax agreement {agreement:.1%}" if agreement is not None else "")
        )
    if typed.target is None:
        for text in typed.fp32_lines:
            console.note(text)
        limit = conversion.scheme.max_finite
        if typed.largest > _CLOSE * limit:
            console.note(
                f"max|value| in {conversion.scheme.name} is {short(typed.largest)} of {limit_text(limit)}: other inputs than the "
                "golden ones may overflow; export with --example to have real ones among them"
            )
