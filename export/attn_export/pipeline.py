"""The one place that knows the order: ask PyTorch, capture, check, then pass by pass with a check after each, write."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import onnx
from attn_runtime.attention import AttentionBlock
from attn_runtime.compare import Tolerance
from attn_runtime.errors import UsageError
from attn_runtime.nearest import did_you_mean
from attn_runtime.spec import Dim, TensorSpec, named_dims
from attn_runtime.writer import BundleWriter, OnnxWriter, check_target

from . import graph, manifest, step
from .attention import find_blocks
from .capture import EXPORTERS, capture, check_opset, unused_inputs
from .cases import corner_cases, trace_sizes
from .check import Judge, Verdict
from .console import Console
from .golden import Golden, choose
from .isolate import Isolated
from .reference import Answer, Arrays, ask, record
from .signature import Signature
from .source import Source

#: The passes of every export, in order. Joining it is a deliberate line.
DEFAULT_PASSES = ("simplify",)


@dataclass(frozen=True)
class Options:
    """What the user may choose. `passes` are added to the default ones, `skip` taken away; sizes in elements."""

    opset: int | None = None
    exporter: str = "dynamo"
    output_names: Sequence[str] = ()
    passes: Sequence[str] = ()
    skip: Sequence[str] = ()
    atol: float | None = None
    rtol: float | None = None
    seed: int = 0
    stage_seconds: float = 600.0
    force: bool = False
    verbose: bool = False


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
class Export:
    """Everything known at the end of an export, before it is written."""

    source: Source
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    tolerance: Tolerance
    seed: int
    opset: int
    exporter: str
    cures: list[dict[str, str]]
    golden: list[Golden]
    stages: list[Stage] = field(default_factory=list)
    attention: tuple[AttentionBlock, ...] = ()

    @property
    def worst_error(self) -> float:
        return self.stages[-1].verdict.worst

    def to_json(self, target: Path) -> dict[str, Any]:
        """The result for scripts: what was written, and the manifest's account of how it was checked."""
        return {
            "output": str(target),
            "name": self.source.name,
            "worst_relative_error": self.worst_error,
            "notes": self.source.notes,
            **manifest.graph_entry(self, (), [manifest.golden_reference(g) for g in self.golden]),
        }


def plan(options: Options) -> list[step.Pass]:
    """The passes to run, in order. UsageError for names that are unknown, or skipped without being there."""
    if options.exporter not in EXPORTERS:
        raise UsageError(
            f"--exporter {options.exporter}: {did_you_mean(options.exporter, EXPORTERS)}available: {', '.join(EXPORTERS)}"
        )
    wanted = [step.get(name).name for name in (*DEFAULT_PASSES, *options.passes)]
    for name in options.skip:
        step.get(name)
        if name not in wanted:
            raise UsageError(f"--skip-pass {name}: it would not run anyway; the passes are: {', '.join(wanted)}")
    return [step.get(name) for name in dict.fromkeys(wanted) if name not in options.skip]


def export(source: Source, target: Path, options: Options, console: Console) -> Export:
    """Export `source` to `target`, NAME.attn (a bundle) or NAME.onnx (a plain graph with its metadata).

    Raises the errors of `attn_runtime.errors`; nothing is written, and what was there stays, unless all checks pass.
    """
    passes = plan(options)
    opset = check_opset(options.opset, options.exporter)
    check_target(target, options.force)
    tolerance = Tolerance(
        source.tolerance.atol if options.atol is None else options.atol,
        source.tolerance.rtol if options.rtol is None else options.rtol,
    )
    if not (math.isfinite(tolerance.atol) and 0 <= tolerance.rtol < 1):
        raise UsageError(
            f"--atol {tolerance.atol:g} --rtol {tolerance.rtol:g}: expected finite limits, and rtol under 1"
        )
    with Isolated(options.stage_seconds) as isolated:
        isolated.start("warm")  # imports ONNX Runtime and onnxsim while PyTorch answers and traces
        names = options.output_names or [o.name for o in source.outputs]
        signature = Signature(source.module, source.inputs, names, source.by_position)
        with console.stage("reference") as line:
            cases = corner_cases(source.inputs)
            answers = record(signature, cases, options.seed, source.example, console.note, tolerance)
            golden = choose(signature, answers, options.seed)
            line.done(f"PyTorch's answers at {_shapes(answers)}")
        work = Export(
            source,
            source.inputs,
            _outputs(source, signature, answers),
            tolerance,
            options.seed,
            opset,
            options.exporter,
            [],
            golden,
        )
        extra = [g.answer for g in golden if g.answer.case.sizes != g.checked]
        stored = [replace(a, case=replace(a.case, name=f"{a.case.name}-stored")) for a in extra]
        judge = Judge(
            source.inputs,
            [*answers, *stored],
            tolerance,
            isolated,
            lambda inputs: ask(signature, answers[0].case, inputs).outputs,
        )
        writer = BundleWriter(target, options.force) if target.suffix == ".attn" else OnnxWriter(target, options.force)
        with writer:
            first = writer.path("model.onnx") if isinstance(writer, BundleWriter) else writer.path()
            final = _graphs(work, signature, judge, passes, first, options, isolated, console)
            with console.stage("write") as line:
                for left in first.parent.glob(f"{first.stem}.*.onnx"):
                    if left != final:
                        left.unlink()
                if final != first:
                    final.replace(first)
                size = _write(work, writer, first, isolated)
                line.done(f"{target}: {size / 1e6:.1f} MB")
    return work


def _graphs(
    work: Export,
    signature: Signature,
    judge: Judge,
    passes: Sequence[step.Pass],
    first: Path,
    options: Options,
    isolated: Isolated,
    console: Console,
) -> Path:
    """Capture to `first` and run every pass beside it, checking each; returns the graph to publish."""
    example = _trace_inputs(work, options.seed)
    with console.stage("capture") as line:
        captured = capture(signature, example, first, opset=work.opset, exporter=work.exporter, verbose=options.verbose)
        work.opset, work.cures = captured.opset, [cure.to_json() for cure in captured.cures]
        line.done(f"{captured.nodes} nodes, opset {captured.opset}, {captured.exporter}")
    for cure in captured.cures:
        if options.verbose or not cure.routine:
            console.note(f"cure {cure}")
    for name in unused_inputs(first, work.inputs):
        console.note(f'input "{name}" is never read by the graph: the answers do not depend on it')
    work.stages.append(_checked("capture", None, captured.nodes, True, "", first, judge, work, console))
    current = first
    for number, chosen in enumerate(passes):
        with console.stage(chosen.name) as line:
            done = step.apply(chosen, current, first.with_name(f"{first.stem}.{number}.onnx"), isolated)
            kept = done.outcome.path != current
            line.done(f"{done.before.nodes} -> {done.after.nodes} nodes; {done.outcome.note}")
        if kept:
            current = done.outcome.path
            stage = _checked(
                chosen.name, done.before.nodes, done.after.nodes, True, done.outcome.note, current, judge, work, console
            )
        else:  # the very graph that was judged already
            verdict = work.stages[-1].verdict
            stage = Stage(chosen.name, done.before.nodes, done.after.nodes, False, done.outcome.note, verdict)
        work.stages.append(stage)
    work.attention = find_blocks(onnx.load(current, load_external_data=False))
    return current


def _checked(
    name: str,
    before: int | None,
    after: int,
    kept: bool,
    note: str,
    path: Path,
    judge: Judge,
    work: Export,
    console: Console,
) -> Stage:
    with console.stage("check") as line:
        verdict = judge.judge(path, name, [s.name for s in work.stages])
        line.done(
            f"{name} = PyTorch at {_shapes(judge.answers)}, "
            f"worst error {verdict.worst:.1e} of max|reference| (allowed {work.tolerance.rtol:.0e})"
        )
    for blurred in sorted({c.difference.output for c in verdict.checks if c.difference.blurred}):
        console.note(
            f'output "{blurred}" is so small that the absolute limit {work.tolerance.atol:g} is over 1 % of it and '
            "hides errors; lower it with --atol"
        )
    for found in verdict.consistency:
        if not found.passed:
            console.note(f"{found.name}: {found.note}")
    return Stage(name, before, after, kept, note, verdict)


def _trace_inputs(work: Export, seed: int) -> Arrays:
    from attn_runtime.draw import draw_inputs

    return draw_inputs(work.inputs, trace_sizes(work.inputs), seed)


def _outputs(source: Source, signature: Signature, answers: Sequence[Answer]) -> tuple[TensorSpec, ...]:
    """Specs of the outputs: an axis that always has a named dim's size is that dim; any other has what was seen."""
    dims = named_dims(source.inputs)
    known = {o.name: o for o in source.outputs}
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


def _write(work: Export, writer: BundleWriter | OnnxWriter, path: Path, isolated: Isolated) -> int:
    """Add metadata and golden cases to what lies at `path`, and publish; returns the bytes written."""
    versions = manifest.versions(isolated.run("warm", "versions"))
    if isinstance(writer, OnnxWriter):
        graph.annotate(path, manifest.metadata(work, versions))
        size = sum(f.stat().st_size for f in path.parent.iterdir())
        writer.commit()
        return size
    references = []
    for golden in work.golden:
        reference = manifest.golden_reference(golden)
        writer.add_tensors(reference["inputs"], golden.answer.inputs)
        writer.add_tensors(reference["outputs"], golden.answer.outputs)
        references.append(reference)
    for name, value in work.source.assets.items():
        writer.add_json(f"assets/{name}", value)
    bundle = writer.commit(
        manifest.bundle(writer.target.stem, work, versions, graph.facts(path).data_files, references)
    )
    return sum(f["size"] for f in bundle.manifest["files"].values())


def _shapes(answers: Sequence[Answer]) -> str:
    return f"{len(answers)} shape{'s' if len(answers) != 1 else ''} ({', '.join(a.case.name for a in answers)})"
