"""One fp32 graph, its record, and the strongly typed graph that holds against it: the core of half precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from attn_runtime.bundle.attention_block import AttentionBlock
from attn_runtime.compare import Tolerance
from attn_runtime.errors import ParityError, PassError
from attn_runtime.onnx_file.graph import Node, read_graph
from attn_runtime.ort.fp16_workarounds import LEFT_OUT_ON_HALF
from attn_runtime.text_format import finite_or_none, worst_table

from ..attention.blocks import find_blocks
from ..console import Console
from ..isolate import TaskFailed
from ..onnx_graph.onnx_file import load, read_info
from ..parity.recorded import HalfCheck, worst
from ..passes import attention
from . import fp32_search
from .activations import STANDS_FOR_INFINITY
from .bisection import bisect, limit_text, short
from .fp32_search import Candidate, Conversion, SearchResult, Wiring
from .modelopt_autocast import LIMIT

#: Beyond this share of a type's greatest number, unseen inputs may well overflow.
_CLOSE = 0.5


@dataclass(frozen=True)
class TypedGraph:
    """A graph in half precision that holds against its record.

    name        in the manifest: "fp16", "bf16", "fp16-trt"
    graph       which graph of the bundle it is of
    kept        nodes that do arithmetic and stay in fp32: {"node", "operator", "module", "reason"}
    share       of all nodes that do arithmetic, the part that was kept
    blocks      its attention blocks
    checks      one per case and output
    largest     the greatest magnitude that is in half precision here, at the record's inputs
    """

    name: str
    path: Path
    kind: str
    graph: str
    kept: tuple[Mapping[str, str], ...]
    share: float
    blocks: tuple[AttentionBlock, ...]
    tolerance: Tolerance
    checks: tuple[HalfCheck, ...]
    half_io: bool
    nodes_before: int
    nodes_after: int
    largest: float
    note: str = ""

    @property
    def target(self) -> str | None:
        """The engine that the file was made for; None for any."""
        return "tensorrt" if self.name.endswith("-trt") else None

    @property
    def worst(self) -> float:
        """The largest error over all cases, of max|reference| of its tensor."""
        return max(c.difference.relative_error for c in self.checks)

    @property
    def argmax_agreement(self) -> float | None:
        """Of a classifier: the share of rows with the reference's class, at the worst case. None for others."""
        return min((c.argmax_agreement for c in self.checks if c.argmax_agreement is not None), default=None)

    @property
    def kept_lines(self) -> list[str]:
        """Per place, what stays in fp32 and why: "kept in fp32: encoder.layers.3.norm (overflow 9.1e4 > 65504)"."""
        return _lines(self.kept)

    def to_json(self) -> dict[str, Any]:
        return {
            "precision": self.name,
            "graph": self.graph,
            "path": str(self.path),
            "kept": [dict(k) for k in self.kept],
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
            "note": self.note,
        }


def convert_graph(job: Conversion, graph: str, console: Console, first: Candidate | None = None) -> TypedGraph:
    """A typed graph that holds against the record of `job`, with as few nodes in fp32 as the search finds.

    `first` is where to start: by default AutoCast's own choice. Raises ParityError, with the first node at fault, when
    nothing found holds.
    """
    kind = job.kind
    with console.stage(kind) as line:
        settled = fp32_search.search(job, first or fp32_search.start(job))
        if not settled.passed:
            raise _failure(job, settled.best)
        typed = _typed(job, graph, settled)
        line.done(f"{typed.nodes_before} -> {typed.nodes_after} nodes, {len(typed.kept)} of arithmetic kept in fp32")
    _confirm(job, typed.path)
    _tell(job, typed, console)
    return typed


def for_tensorrt(job: Conversion, typed: TypedGraph, console: Console) -> TypedGraph | None:
    """`typed` with attention rewritten so that TensorRT fuses it, held against the record; None if all of it does already.

    The weights of a large graph stay in the data file of `typed`, beside which the new file is written.
    """
    path = typed.path.with_name("tensorrt.onnx")
    with console.stage("attention") as line:
        model = load(typed.path)
        done = attention.rewrite(model)
        for note in done.notes:
            console.note(note)
        if not done.changed:
            line.done("nothing to rewrite for TensorRT")
            return None
        ir.save(model, path)
        _, checks = fp32_search.judge(job, path)
        worst_check = worst(checks)
        if not worst_check.difference.passed:
            raise _parity(job, checks, f"{typed.name} with attention rewritten for TensorRT", "")
        line.done(f"rewritten for TensorRT: {', '.join(done.changed)}")
    made = replace(
        typed, name=f"{typed.name}-trt", path=path, blocks=find_blocks(model), checks=tuple(checks),
        nodes_before=typed.nodes_after, nodes_after=read_info(path).nodes, note=f"rewritten: {', '.join(done.changed)}"[:8000],
    )  # fmt: skip
    _tell(job, made, console)
    return made


def _typed(job: Conversion, graph: str, settled: SearchResult) -> TypedGraph:
    path = settled.best.cast.path
    before, after = read_info(job.source), read_info(path)
    kept = tuple(_kept(job, settled))
    computing = Wiring(onnx.load(job.source, load_external_data=False)).computing
    names = {k["node"] for k in kept}
    inside = settled.fp32_tensors
    half = [v for name, v in job.largest.items() if name not in inside and v < STANDS_FOR_INFINITY]
    return TypedGraph(
        job.kind, path, job.kind, graph, kept, len(names) / max(1, len(computing)),
        find_blocks(load(path)), job.tolerance, settled.best.checks, job.half_io,
        before.nodes, after.nodes, max(half, default=0.0), "; ".join(_lines(kept))[:8000],
    )  # fmt: skip


def _lines(kept: tuple[Mapping[str, str], ...]) -> list[str]:
    return list(dict.fromkeys(f"kept in fp32: {k['module'] or k['node']} ({k['reason']})" for k in kept))


def _kept(job: Conversion, settled: SearchResult) -> list[dict[str, str]]:
    told: list[dict[str, str]] = []
    source = read_graph(job.source, job.source.name).node_by_name()
    wiring = Wiring(onnx.load(job.source, load_external_data=False))
    for name in settled.best.cast.in_fp32:
        if name not in source:
            continue  # a Clip before a cast
        node = source[name]
        reason = _reason(job, node, settled, wiring)
        told.append({"node": name, "operator": node.op_type, "module": node.module, "reason": reason})
    return told


def _reason(job: Conversion, node: Node, settled: SearchResult, wiring: Wiring) -> str:
    limit = LIMIT[job.kind]
    most = max((job.largest.get(n, 0.0) for n in (*node.outputs, *node.inputs)), default=0.0)
    if most > limit:
        return f"overflow {short(most)} > {limit_text(limit)}"
    for blamed in settled.blames:
        if node.name in wiring.carriers(blamed.tensor):
            what = "weight" if blamed.weight else "tensor"
            much = f"{short(blamed.ratio)} times what is allowed" if blamed.ratio < 1e9 else "out of all range"
            return f"drift: rounding {what} {blamed.tensor} alone moves the answers {much}"
    return f"{node.op_type} has no {job.kind} here"


def _failure(job: Conversion, best: Candidate) -> ParityError:
    found = bisect(
        job.source, best.twin, [(c.name, c.inputs) for c in job.record.cases], job.isolated, job.work, job.kind
    )
    first = found.first
    at = ""
    if first is not None:
        where = f" ({first.source})" if first.source else ""
        at = f"; it parts at {first.label}, node {first.node} ({first.operator}){where}: {first.told(found.limit)}"
    return _parity(job, list(best.checks), job.kind, at)


def _parity(job: Conversion, checks: list[HalfCheck], what: str, at: str) -> ParityError:
    failed = [c for c in checks if not c.difference.passed]
    bad = worst(failed)
    d = bad.difference
    sizes = ", ".join(f"{n}={s}" for n, s in bad.case.sizes.items())
    found = d.problem or f"error {d.max_error:.3g} at max|reference| {d.max_reference:.3g}, limit {d.limit:.3g}"
    return ParityError(
        f'{what} does not match {job.record.against}: output "{d.output}" at case "{bad.case.name}"'
        f"{f' ({sizes})' if sizes else ''}: {found}{at}. No small set of nodes in fp32 mends it; allow more with --rtol, or "
        f"stay in fp32. No {job.kind} graph was written.",
        worst_table([(c.case.name, c.difference) for c in failed[:8]]),
    )


def _confirm(job: Conversion, path: Path) -> None:
    """That the typed file itself is a sound graph: onnx's checker, and for fp16 ONNX Runtime, which has its kernels."""
    try:
        onnx.checker.check_model(str(path), full_check=True)
        if job.kind == "fp16" and not job.half_io:
            case = min(job.record.cases, key=lambda c: c.inputs.stat().st_size)
            pair = [str(case.inputs), str(job.work / "confirmed.safetensors")]
            job.isolated.run(
                "answers",
                "the fp16 graph itself",
                graph=str(path),
                cases=[pair],
                large=job.large,
                without=LEFT_OUT_ON_HALF,
            )
    except (TaskFailed, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as problem:
        raise PassError(f"the {job.kind} graph is not sound: {' '.join(str(problem).split())[:400]}") from problem


def _tell(job: Conversion, typed: TypedGraph, console: Console) -> None:
    with console.stage("check") as line:
        bad = worst(typed.checks)
        agreement = typed.argmax_agreement
        line.done(
            f"{typed.name} = {job.record.against} at {len(job.record.cases)} shapes, worst error {typed.worst:.1e} of "
            f"max|reference| (allowed {job.tolerance.rtol:.0e}, {bad.ratio:.0%} of the limit)"
            + (f", argmax agreement {agreement:.1%}" if agreement is not None else "")
        )
    if typed.target is None:
        for text in typed.kept_lines:
            console.note(text)
        if typed.largest > _CLOSE * LIMIT[job.kind]:
            console.note(
                f"max|value| in {job.kind} is {short(typed.largest)} of {limit_text(LIMIT[job.kind])}: other inputs than the "
                "golden ones may overflow; export with --example to have real ones among them"
            )
