"""One graph of an export: PyTorch's answers, the capture, and every pass with a check after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from attn_runtime.bundle import Arrays, Case
from attn_runtime.child_process import ChildDied, ChildProcess
from attn_runtime.compare import Tolerance
from attn_runtime.errors import AttnError, ParityError
from attn_runtime.spec import Dim, TensorSpec, named_dims

from ..attention import find_blocks
from ..capture import Branch, capture, explained, explained_at_one, sizes_to_ask
from ..console import Console
from ..onnx_graph import load
from ..parity import ParityChecker, Sweep, Verdict, check_same, record_sweep
from ..passes import Pass, run_pass
from ..reference import (
    FP32_ONLY,
    MOST_BYTES,
    Signature,
    SweepPlan,
    case_bytes,
    check_varied,
    choose,
    corner_cases,
    cost_of,
    fill_ranges,
    plan_sweep,
    record_answers,
    run_module,
    trace_inputs,
)
from ..source import Source, SourceGraph
from .types import ExportOptions, Form, GraphExport, Stage

#: What the sizes of other branches may take, in seconds.
_BRANCH_SECONDS = 60.0
#: A case that PyTorch alone takes so long for, in seconds, is asked of a graph's last form, and of no earlier one. So is one of
#: so many bytes, inputs and answers together, which go through files to ONNX Runtime and back: the cache of a generator's step.
_HEAVY_SECONDS = 0.25
_HEAVY_BYTES = 64 << 20
#: Between the seed of an export and that of its sweep, so that no corner's inputs are drawn again.
_SWEEP_SEED = 1000


def record_reference(
    source: Source, graph: SourceGraph, tolerance: Tolerance, opset: int, options: ExportOptions, isolated: ChildProcess,
    console: Console, folder: Path,
) -> GraphExport:  # fmt: skip
    """What PyTorch answers at every corner, and between them: what each form of this graph will be held against.

    The answers between the corners are written to `folder`.
    """
    label = f"{graph.name}: " if len(source.graphs) > 1 else ""
    names = options.output_names or [o.name for o in graph.outputs]
    signature = Signature(graph.module, graph.inputs, names, source.by_position, graph.watch, graph.draw)
    with console.stage("reference") as line:
        cases = corner_cases(graph.inputs)
        answers = record_answers(
            signature, cases, options.seed, source.examples, lambda text: console.note(label + text), tolerance
        )
        for text in check_varied(signature, answers):
            console.note(label + text)
        # Several graphs take the room of one together.
        golden = choose(signature, answers, options.seed, MOST_BYTES // len(source.graphs))
        extra = [g for g in golden if g.sizes != g.checked_sizes]

        def again(number: int) -> Case[Arrays]:
            drawn = signature.draw(answers[0].sizes, options.seed + len(answers) + number)
            return run_module(signature, replace(answers[0], sizes=drawn.sizes), drawn.inputs)

        # At 100 times the usual inputs, what is added to a fill would no longer be a hair.
        usual = [a for a in answers if a.name not in FP32_ONLY]
        tolerance = replace(tolerance, fills=fill_ranges([*usual, *extra], again))
        if graph.watch is not None:
            plain = Signature(graph.module, graph.inputs, names, source.by_position)
            check_same(lambda case: run_module(plain, case, case.inputs), answers, tolerance)
        line.done(f"{label}PyTorch's answers at {_shapes(answers)}")
    for output, ranges in tolerance.fills.items():
        console.note(
            f'{label}output "{output}" holds fill values ({_about(ranges)}): they are held apart from the rest'
        )
    sweep = _sweep(signature, answers, options, folder, label, console)
    stored = [replace(case, name=f"{case.name}-stored") for case in extra]
    checker = ParityChecker(
        graph.inputs,
        [*answers, *stored],
        tolerance,
        isolated,
        lambda inputs: run_module(signature, answers[0], inputs).outputs,
        graph.draw,
        sweep,
        _heavy(signature, answers),
    )
    outputs = _outputs(graph, signature, answers)
    return GraphExport(
        graph.name, label, signature, checker, graph.inputs, outputs, tolerance, opset, options.exporter, golden,
        folder,
    )  # fmt: skip


def _heavy(signature: Signature, answers: Sequence[Case[Arrays]]) -> list[str]:
    """The names of the cases that PyTorch takes long for, or that are large; never of the quickest."""
    seconds = {a.name: signature.took(a.inputs) for a in answers}
    quickest = min(seconds, key=lambda name: seconds[name])
    large = {a.name for a in answers if case_bytes(a) > _HEAVY_BYTES}
    return [name for name, took in seconds.items() if (took > _HEAVY_SECONDS or name in large) and name != quickest]


def _sweep(
    signature: Signature, answers: Sequence[Case[Arrays]], options: ExportOptions, folder: Path, label: str, console: Console
) -> Sweep:  # fmt: skip
    """PyTorch's answers at sizes between the corners."""
    inputs, seed = signature.inputs, options.seed + _SWEEP_SEED
    cost = cost_of(inputs, signature.seconds)
    plan = plan_sweep(inputs, [answer.sizes for answer in answers], seed, cost, options.sweep)
    if not plan.sizes:
        return Sweep(seed)
    with console.stage("sweep") as line:
        sweep = record_sweep(plan, signature, folder, seed)
        line.done(f"{label}PyTorch's answers at {sweep.text}")
    return sweep


def _ask_other_branches(work: GraphExport, branches: Sequence[Branch], deferred: bool, console: Console) -> None:
    """Also hold the graph against PyTorch where the module takes another branch than the one that was traced."""
    least = {name: dim.min for name, dim in named_dims(work.inputs).items()}
    plan = SweepPlan(tuple({**least, **sizes} for sizes in sizes_to_ask(branches)), limit=_BRANCH_SECONDS)
    for branch in branches:
        told = " and ".join(", ".join(f"{n}={s}" for n, s in sizes.items()) for sizes in branch.sizes)
        if not deferred:  # else they are told with the cure
            console.note(
                f"{work.label}the module tells sizes apart by {branch.guard}, which a graph does not: {told} asked too"
            )
    sweep, folder = work.checker.sweep, work.sweep_folder / "branches"
    folder.mkdir()
    more = record_sweep(plan, work.signature, folder, sweep.seed + len(sweep.cases))
    work.checker.sweep = replace(sweep, cases=(*sweep.cases, *more.cases))


def export_graph(
    work: GraphExport,
    place: Path,
    passes: Sequence[Pass],
    options: ExportOptions,
    isolated: ChildProcess,
    console: Console,
    map_weights: bool = False,
) -> None:
    """Capture to `place`, check that quickly, and run every pass beside it; `finish` checks the last form.

    `map_weights` as `capture` has it.
    """
    example = trace_inputs(work.signature, options.seed).inputs
    with console.stage("capture") as line:
        captured = capture(
            work.signature, example, place, opset=work.opset, exporter=work.exporter, verbose=options.verbose,
            seconds=options.stage_seconds, map_weights=map_weights,
        )  # fmt: skip
        work.opset, work.cures = captured.info.opset, [patch.to_json() for patch in captured.patches]
        line.done(f"{work.label}{captured.info.nodes} nodes, opset {captured.info.opset}, {captured.exporter}")
    for patch in captured.patches:
        if options.verbose or not patch.routine:
            console.note(f"{work.label}cure {patch}")
    for name in captured.unused:
        console.note(f'{work.label}input "{name}" is never read by the graph: the answers do not depend on it')
    if captured.branches and (captured.deferred or options.sweep != 0):
        _ask_other_branches(work, captured.branches, captured.deferred, console)

    def check_capture(heavy: bool | None) -> Verdict:
        try:
            return checked(work, "capture", place, console, heavy)
        except ParityError as problem:
            if captured.deferred:
                raise explained(problem, captured.branches, work.inputs) from problem
            raise explained_at_one(problem, work.signature, example) from problem

    work.stages.append(Stage("capture", None, captured.info.nodes, True, "", check_capture(heavy=False)))
    work.forms.append(Form(place, check_capture))
    known = captured.info
    for number, chosen in enumerate(passes):
        current = work.forms[-1].path
        with console.stage(chosen.name) as line:
            target, earlier = place.with_name(f"{place.stem}.{number}.onnx"), [stage.name for stage in work.stages]
            try:
                done = run_pass(chosen, current, target, isolated, earlier=earlier, known=known)
                known = done.after
            except AttnError:
                if len(work.forms) > 1:  # the graph that it was given may be at fault
                    find_fault(work, work.forms)
                raise
            if done.result.idle and chosen.name not in options.passes:
                line.drop()
                continue
            line.done(f"{work.label}{done.before.nodes} -> {done.after.nodes} nodes; {done.result.note}")
        changed = done.result.path != current
        # What was judged already; what is new is judged in `finish`, together with what follows.
        verdict = Verdict() if changed else work.stages[-1].verdict
        work.stages.append(Stage(chosen.name, done.before.nodes, done.after.nodes, changed, done.result.note, verdict))
        if changed:
            add_form(work, chosen.name, done.result.path, console)
    work.attention = find_blocks(load(work.forms[-1].path))


def add_form(work: GraphExport, name: str, path: Path, console: Console) -> None:
    """The graph at `path` is a further form; a failed check calls it `name`."""
    work.forms.append(Form(path, partial(checked, work, name, path, console)))


def finish(work: GraphExport) -> None:
    """Hold the last form against PyTorch at every case.

    All forms are held together, once, and one by one where that fails: the first that is at fault is named. Raises as
    `ParityChecker.check`.
    """
    *earlier, last = work.forms
    if not earlier:  # judged behind the capture
        if work.checker.heavy:
            work.stages[0].verdict.add(last.check(True))
        return
    try:
        verdict = last.check(None)
    except (ParityError, ChildDied):
        find_fault(work, earlier)
        raise
    number = max(n for n, stage in enumerate(work.stages) if stage.changed)
    for stage in work.stages[number:]:
        stage.verdict = verdict
    for stage in work.stages[1:number]:
        if not stage.verdict.checks:  # also of a pass that left such a form as it was
            stage.note = f"{stage.note}; held against PyTorch together with {work.stages[number].name}"


def find_fault(work: GraphExport, forms: Sequence[Form]) -> None:
    """Hold each of these against PyTorch, in order and at every case: raises, by its name, where one is at fault."""
    for number, form in enumerate(forms):
        if number:
            form.check(None)
        elif work.checker.heavy:
            form.check(True)  # the other cases it was held to behind the capture


def checked(work: GraphExport, name: str, path: Path, console: Console, heavy: bool | None) -> Verdict:
    """The graph at `path`, of the stage `name`, held against PyTorch; `heavy` and raises as `ParityChecker.check` has it."""
    checker, earlier = work.checker, [stage.name for stage in work.stages]
    earlier = earlier[: earlier.index(name)] if name in earlier else earlier
    swept = f" and {checker.sweep.text}" if checker.sweep and not heavy else ""
    with console.stage("check") as line:
        verdict = checker.check(path, f"{work.label}{name}", earlier, heavy)
        line.done(
            f"{work.label}{name} = PyTorch at {_shapes(checker.asked(heavy))}{swept}, "
            f"worst error {verdict.worst:.1e} of max|reference| (allowed {work.tolerance.rtol:.0e})"
        )
    usual = [c for c in verdict.checks if c.case.name not in FP32_ONLY]
    for blurred in sorted({c.difference.output for c in usual if c.difference.blurred}):
        console.note(
            f'{work.label}output "{blurred}" is so small that the absolute limit {work.tolerance.atol:g} is over 1 % of '
            "it and hides errors; lower it with --atol"
        )
    for found in verdict.consistency:
        if not found.passed:
            console.note(f"{work.label}{found.name}: {found.note}")
    return verdict


def _outputs(graph: SourceGraph, signature: Signature, answers: Sequence[Case[Arrays]]) -> tuple[TensorSpec, ...]:
    """Specs of the outputs: an axis that always has a named dim's size is that dim; any other has what was seen."""
    dims = named_dims(graph.inputs)
    known = {o.name: o for o in graph.outputs}
    specs: list[TensorSpec] = []
    for name in signature.output_names:
        seen = [(a.sizes, a.outputs[name].shape) for a in answers]
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


def _about(ranges: Sequence[tuple[float, float]]) -> str:
    """-1e+09, or where it is added to something the middle of what comes of it."""
    return ", ".join(f"{low / 2 + high / 2:.3g}" for low, high in ranges)


def _shapes(answers: Sequence[Case[Arrays]]) -> str:
    return f"{len(answers)} shape{'s' if len(answers) != 1 else ''} ({', '.join(a.name for a in answers)})"
