"""One graph of an export: PyTorch's answers, the capture, and every pass with a check after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from attn_runtime.bundle.attention_block import AttentionBlock
from attn_runtime.compare import Tolerance
from attn_runtime.random_inputs import draw_inputs
from attn_runtime.spec import Dim, TensorSpec, named_dims

from ..attention.blocks import find_blocks
from ..attention_outputs.add import check_same
from ..capture.exporter import capture, unused_inputs
from ..console import Console
from ..isolate import Isolated
from ..onnx_graph.onnx_file import load
from ..parity.judge import ParityChecker, Verdict
from ..passes import _base as step
from ..reference.answers import Answer, record_answers, run_module
from ..reference.golden import MOST_BYTES, Golden, choose
from ..reference.shape_cases import corner_cases, trace_sizes
from ..reference.signature import Signature
from ..source.resolve import ONLY, Source, SourceGraph

if TYPE_CHECKING:
    from .pipeline import ExportOptions


@dataclass
class Stage:
    """One form of the graph, as the manifest tells of it."""

    name: str
    nodes_before: int | None
    nodes_after: int
    kept: bool
    note: str
    verdict: Verdict


@dataclass
class GraphExport:
    """Everything known of one graph of an export, before it is written.

    label   "NAME: " where the export has several graphs, for lines of progress
    data    the names of the data files that the graph's weights lie in
    """

    name: str
    label: str
    signature: Signature
    checker: ParityChecker
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    tolerance: Tolerance
    opset: int
    exporter: str
    golden: list[Golden]
    cures: list[dict[str, str]] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    attention: tuple[AttentionBlock, ...] = ()
    data: tuple[str, ...] = ()

    @property
    def worst_error(self) -> float:
        return self.stages[-1].verdict.worst

    @property
    def file(self) -> str:
        return f"{self.name}.onnx"

    def golden_file(self, case: str, side: str) -> str:
        """Where the "inputs" or "outputs" of a golden case lie in the bundle."""
        return f"golden/{'' if self.name == ONLY else f'{self.name}.'}{case}.{side}.safetensors"


def record_reference(
    source: Source, graph: SourceGraph, tolerance: Tolerance, opset: int, options: ExportOptions, isolated: Isolated,
    console: Console,
) -> GraphExport:  # fmt: skip
    """What PyTorch answers at every corner: what each form of this graph will be held against."""
    label = f"{graph.name}: " if len(source.graphs) > 1 else ""
    names = options.output_names or [o.name for o in graph.outputs]
    signature = Signature(graph.module, graph.inputs, names, source.by_position, graph.watch)
    with console.stage("reference") as line:
        cases = corner_cases(graph.inputs)
        answers = record_answers(
            signature, cases, options.seed, source.example, lambda text: console.note(label + text), tolerance
        )
        if graph.watch is not None:
            plain = Signature(graph.module, graph.inputs, names, source.by_position)
            check_same(plain, answers, tolerance)
        # Several graphs take the room of one together.
        golden = choose(signature, answers, options.seed, MOST_BYTES // len(source.graphs))
        line.done(f"{label}PyTorch's answers at {_shapes(answers)}")
    extra = [g.answer for g in golden if g.answer.case.sizes != g.checked]
    stored = [replace(a, case=replace(a.case, name=f"{a.case.name}-stored")) for a in extra]
    checker = ParityChecker(
        graph.inputs,
        [*answers, *stored],
        tolerance,
        isolated,
        lambda inputs: run_module(signature, answers[0].case, inputs).outputs,
    )
    outputs = _outputs(graph, signature, answers)
    return GraphExport(
        graph.name, label, signature, checker, graph.inputs, outputs, tolerance, opset, options.exporter, golden
    )


def export_graph(
    work: GraphExport,
    place: Path,
    passes: Sequence[step.Pass],
    options: ExportOptions,
    isolated: Isolated,
    console: Console,
) -> None:
    """Capture to `place` and run every pass beside it, checking each; the graph to publish is left at `place`."""
    example = draw_inputs(work.inputs, trace_sizes(work.inputs), options.seed)
    with console.stage("capture") as line:
        captured = capture(
            work.signature, example, place, opset=work.opset, exporter=work.exporter, verbose=options.verbose
        )
        work.opset, work.cures = captured.opset, [patch.to_json() for patch in captured.patches]
        line.done(f"{work.label}{captured.nodes} nodes, opset {captured.opset}, {captured.exporter}")
    for patch in captured.patches:
        if options.verbose or not patch.routine:
            console.note(f"{work.label}cure {patch}")
    for name in unused_inputs(place, work.inputs):
        console.note(f'{work.label}input "{name}" is never read by the graph: the answers do not depend on it')
    work.stages.append(checked_stage(work, "capture", place, console, after=captured.nodes))
    current = place
    for number, chosen in enumerate(passes):
        with console.stage(chosen.name) as line:
            target, earlier = place.with_name(f"{place.stem}.{number}.onnx"), [stage.name for stage in work.stages]
            done = step.run_pass(chosen, current, target, isolated, earlier=earlier)
            line.done(f"{work.label}{done.before.nodes} -> {done.after.nodes} nodes; {done.result.note}")
        before, after, note = done.before.nodes, done.after.nodes, done.result.note
        if done.result.path != current:
            current = done.result.path
            stage = checked_stage(work, chosen.name, current, console, before=before, after=after, note=note)
        else:  # the very graph that was judged already
            stage = Stage(chosen.name, before, after, False, note, work.stages[-1].verdict)
        work.stages.append(stage)
    work.attention = find_blocks(load(current))
    for left in place.parent.glob(f"{place.stem}.*.onnx"):
        if left != current:
            left.unlink()
    if current != place:
        current.replace(place)


def checked_stage(
    work: GraphExport, name: str, path: Path, console: Console, *, after: int, before: int | None = None, note: str = ""
) -> Stage:
    """The stage `name`, its graph at `path` held against PyTorch. Raises what ParityChecker.check raises."""
    with console.stage("check") as line:
        verdict = work.checker.check(path, f"{work.label}{name}", [s.name for s in work.stages])
        line.done(
            f"{work.label}{name} = PyTorch at {_shapes(work.checker.answers)}, "
            f"worst error {verdict.worst:.1e} of max|reference| (allowed {work.tolerance.rtol:.0e})"
        )
    for blurred in sorted({c.difference.output for c in verdict.checks if c.difference.blurred}):
        console.note(
            f'{work.label}output "{blurred}" is so small that the absolute limit {work.tolerance.atol:g} is over 1 % of '
            "it and hides errors; lower it with --atol"
        )
    for found in verdict.consistency:
        if not found.passed:
            console.note(f"{work.label}{found.name}: {found.note}")
    return Stage(name, before, after, True, note, verdict)


def _outputs(graph: SourceGraph, signature: Signature, answers: Sequence[Answer]) -> tuple[TensorSpec, ...]:
    """Specs of the outputs: an axis that always has a named dim's size is that dim; any other has what was seen."""
    dims = named_dims(graph.inputs)
    known = {o.name: o for o in graph.outputs}
    specs: list[TensorSpec] = []
    for name in signature.output_names:
        seen = [(a.case.sizes, a.outputs[name].shape) for a in answers]
        axes: list[Dim] = []
        for axis in range(len(seen[0][1])):
            sizes = [shape[axis] for _, shape in seen]
            same = [
                d
                for n, d in dims.items()
                if d.dynamic and all(s[n] == size for (s, _), size in zip(seen, sizes, strict=True))
            ]
            if same:
                axes.append(same[0])
            elif len(set(sizes)) == 1:
                axes.append(Dim.fixed(sizes[0]))
            else:
                axes.append(Dim(f"{name}_{axis}", min(sizes), sizes[min(1, len(sizes) - 1)], max(sizes)))
        own = known.get(name)
        specs.append(
            TensorSpec(
                name,
                answers[0].outputs[name].dtype.name,
                tuple(axes),
                own.meaning if own else "",
                own.unit if own else "",
            )
        )
    return tuple(specs)


def _shapes(answers: Sequence[Answer]) -> str:
    return f"{len(answers)} shape{'s' if len(answers) != 1 else ''} ({', '.join(a.case.name for a in answers)})"
