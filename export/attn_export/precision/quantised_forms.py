"""A quantised precision of all graphs of a bundle: one choice per weight for all of them, and the form for TensorRT of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from attn_runtime.bundle import Bundle, Graph
from attn_runtime.child_process import ChildProcess
from attn_runtime.compare import Tolerance
from attn_runtime.errors import ParityError, UsageError, did_you_mean
from attn_runtime.spec import TensorSpec

from ..console import Console
from ..parity import Agreement, drawn_specs, golden_record, has_answers, own_record, worst
from .calibration import open_token_rows
from .front import front_table, measure_front
from .generator_answers import GeneratorAnswers, Texts, TooFewTokensError, read_texts, samples_of_texts, tell_perplexity
from .half import FurtherCases, Live, TypedGraph, of_bundle
from .quantisation import MAX_LEFT, SHARES, Quantisation, asked
from .quantised import QuantiseOptions
from .quantised_tensorrt import HalfForm, converted_half, half_form, half_scheme, tensorrt_form
from .schemes import QuantisedScheme
from .sources import check_source, embedded_inputs, file_conversion, fp32_of, named

#: A generator's answer; its other outputs go from graph to graph, and may be off so many times further, but no more than half.
_LOGITS, _TIMES_INNER, _MOST_INNER = "logits", 4.0, 0.5
#: By a graph's name, what TensorRT's form of it is made from; made once, when the form for a CPU holds.
HalfOf = Callable[[str], HalfForm | None]
#: So many names are told where one is unknown.
_MOST_NAMES = 8


def quantise_bundle(
    opened: Bundle,
    scheme: QuantisedScheme,
    options: QuantiseOptions,
    rtol: float | None,
    tensorrt: bool,
    work: Path,
    isolated: ChildProcess,
    console: Console,
    live: Mapping[str, Live],
) -> dict[str, list[TypedGraph]]:
    """The files of the precision, by graph: for a CPU, and with `tensorrt` for TensorRT, each held against PyTorch's answers.

    Raises UsageError where nothing can be quantised or a budget is out of reach of any choice, ParityError where no choice of
    weights makes the answers hold.
    """
    texts = _texts(opened, scheme, options, work, isolated, console)
    recorded = opened.asset("generation") is not None and has_answers(opened)
    every = []
    for name, graph in opened.graphs.items():
        fp32 = fp32_of(graph)
        check_source(fp32.file)
        folder = work / name
        folder.mkdir()
        one = Quantisation(
            name, named(fp32.file, folder), scheme, golden_record(opened, graph, scheme.held_to),
            _limits(opened, graph, scheme, rtol), isolated, folder, None if recorded else options.min_agreement,
            rtol is None, of_bundle(opened, graph, scheme.held_to, live.get(name)),
        )  # fmt: skip
        every.append(one)
    by_graph = {one.graph: one for one in every}
    if texts is not None and scheme.sampled:
        for name, samples in samples_of_texts(texts, opened, work, isolated).items():
            by_graph[name].samples = samples
    answers = GeneratorAnswers(opened.path, every, options.min_agreement, isolated, console) if recorded else None

    @cache
    def half(name: str) -> HalfForm | None:
        one = by_graph[name]
        return half_form(one, opened, opened.graph(name), _about(one, every, console))

    with console.stage(scheme.name) as line:
        for one in every:
            own = _about(one, every, console)
            one.prepare(options, opened.graph(one.graph), own, [other.weights_file for other in every])
        trt = half if tensorrt and scheme.tensorrt else None
        forms, agreed = _made(every, opened.path.name, options, trt, console, answers)
        line.done(_done(every))
    reported = _report(every, forms, console)
    written: dict[str, Any] = {} if agreed is None else {"agreement": agreed.to_json()}
    if texts is not None:
        files = {one.graph: one.path for one in every}
        written["perplexity"] = tell_perplexity(texts, opened, scheme.name, files, isolated, console)
    if written:
        reported = [
            [replace(form, quantised={**(form.quantised or {}), "generation": written}), *others]
            for form, *others in reported
        ]
    return dict(zip(opened.graphs, reported, strict=True))


def _texts(
    opened: Bundle,
    scheme: QuantisedScheme,
    options: QuantiseOptions,
    work: Path,
    isolated: ChildProcess,
    console: Console,
) -> Texts | None:
    """What --calibrate names of a generator as a whole; None where it names nothing, or inputs of each graph."""
    if options.calibrate is None:
        return None
    rows = open_token_rows(options.calibrate, opened)
    if rows is not None:
        return read_texts(rows, opened, work, isolated, console)
    options.check_read(scheme)
    if (asset := opened.asset("generation")) is not None:
        why = (
            "they are inputs of single graphs; give texts, or rows of tokens"
            if asset["encoder"] is None
            else "it needs sources with their answers, and they are inputs of single graphs"
        )
        console.note(f"no perplexity is told on the samples of --calibrate: {why}")
    return None


def _about(one: Quantisation, every: Sequence[Quantisation], console: Console) -> Console:
    """The console for the work on one of the graphs, which is named where there are several."""
    return console.about(f"{one.graph}: ") if len(every) > 1 else console


def _limits(opened: Bundle, graph: Graph, scheme: QuantisedScheme, rtol: float | None) -> Tolerance:
    """The limits of a graph. What graphs of a generator hand to each other is no answer: it may be off further than the logits,
    in which its errors show."""
    found = scheme.tolerance(rtol, fp32_of(graph).tolerance)
    if opened.asset("generation") is None:
        return found
    inner = min(_TIMES_INNER * found.rtol, _MOST_INNER)
    return replace(found, rtols={o.name: inner for o in graph.outputs if o.name != _LOGITS})


def _check_leave(every: Sequence[Quantisation], names: Sequence[str]) -> None:
    """UsageError for a name of --leave that no weight has in any of the graphs: what it was meant for would be quantised."""
    nodes = {node: module for one in every for node, module in one.places.items()}
    for name in names:
        if not any(asked(node, module, (name,)) for node, module in nodes.items()):
            # Modules are what people call them by, and come first.
            known = [*sorted({*filter(None, nodes.values())}), *sorted(nodes)]
            shown = ", ".join(known[:_MOST_NAMES]) + (", ..." if len(known) > _MOST_NAMES else "")
            raise UsageError(
                f"--leave {name}: no weight that {every[0].scheme.name} would quantise lies in a node or module of this name; "
                f"{did_you_mean(name, known)}available: {shown or '(none)'}"
            )


def _check_sites(every: Sequence[Quantisation], name: str) -> None:
    """UsageError where there is nothing to quantise in any of them, or nothing that agreement could be told of."""
    if not any(one.sites for one in every):
        scheme = every[0].scheme
        reasons = sorted({reason for one in every for reason in one.unfit.values()})
        raise UsageError(
            f"{name}: {scheme.name} finds nothing to quantise, no {', '.join(scheme.operators)} with a constant weight of a "
            f"thousand elements{''.join(f' whose size fits: {reason}' for reason in reasons[:1])}; take another precision"
        )
    if every[0].min_agreement is not None and not any(one.classes for one in every):
        raise UsageError(
            f"--min-agreement: {name} answers with no classes (a bundle with labels, or of the task image-classification) and no "
            "logits of a next token; leave it out, and bound the error with --max-error"
        )


def _made(
    every: Sequence[Quantisation],
    name: str,
    options: QuantiseOptions,
    half: HalfOf | None,
    console: Console,
    answers: GeneratorAnswers | None = None,
) -> tuple[list[list[TypedGraph]], Agreement | None]:
    """Choose and write, with less of the limit where what is really computed is further off than what was measured. A generator
    with recorded answers is held to these, and how it agrees is told.
    """
    _check_leave(every, options.leave)
    _check_sites(every, name)
    last: ParityError | None = None
    agreed: Agreement | None = None
    for share in SHARES:
        for one in every:
            one.choose(share)
        _agree(every)
        for one in every:
            if (left := one.share_left()) > MAX_LEFT:
                raise last or one.too_much_left(left)
        try:
            written = [one.write() for one in every]
            if answers is not None:
                agreed, changed = answers.hold()
                written = [one.write() for one in every] if changed else written
        except TooFewTokensError:
            raise
        except ParityError as problem:
            last = problem
            continue
        # Outside: where float16 fails, fewer quantised weights are no cure.
        bases = [half and half(one.graph) for one in every]
        try:
            return [
                _forms(one, typed, base, _about(one, every, console))
                for one, typed, base in zip(every, written, bases, strict=True)
            ], agreed
        except ParityError as problem:
            last = problem
    assert last is not None
    raise last


def _forms(one: Quantisation, typed: TypedGraph, base: HalfForm | None, console: Console) -> list[TypedGraph]:
    form = None if base is None else tensorrt_form(one, typed, base, console)
    return [typed] if form is None else [typed, form]


def _agree(every: Sequence[Quantisation]) -> None:
    """A weight that one graph leaves is left in all of them: else it would be stored twice."""
    gone = {one.hashes[node]: one.graph for one in every for node in one.left if node in one.hashes}
    for one in every:
        for site in one.sites:
            other = gone.get(one.hashes[site.node])
            if other is not None and site.node not in one.left:
                one.left[site.node] = f"as in graph {other}" if other != one.graph else "its weight is left elsewhere"


def _done(every: Sequence[Quantisation]) -> str:
    sites = [site for one in every for site in one.sites]
    left = sum(len(one.left) for one in every)
    return f"{len(sites) - left} weights of products in {every[0].scheme.weights}, {left} left in fp32"


def _report(
    every: Sequence[Quantisation], made: Sequence[list[TypedGraph]], console: Console
) -> list[list[TypedGraph]]:
    """Tell how each graph was held, what is left, and the front; the graphs, those for a CPU with their fronts."""
    told = []
    for one, (form, *others) in zip(every, made, strict=True):
        own = _about(one, every, console)
        with own.stage("check") as line:
            bad = worst(form.checks)
            classes = one.found.chosen if one.found else None
            agreement = "" if classes is None or classes.agreement is None else f", agreement {classes.agreement:.1%}"
            beyond = f" and {form.further.text}" if form.further.checks else ""
            line.done(
                f"{form.name} = {one.record.against} at {len(one.record.cases)} shapes{beyond}, worst error {form.worst:.1e} of "
                f"max|reference| (allowed {one.tolerance.rtol:.0e}, {bad.ratio:.0%} of the limit){agreement}"
            )
        for text in dict.fromkeys(one.lines):
            own.note(text)
        with own.stage("front") as line:
            points = measure_front(one, form)
            line.done("error against size and speed, measured here" if points else "nothing was searched for")
        if points:
            for text in front_table(points).splitlines():
                console.say(text)
        told.append([replace(form, front=tuple(point.to_json() for point in points)), *others])
    return told


def quantise_file(
    path: Path,
    scheme: QuantisedScheme,
    options: QuantiseOptions,
    rtol: float | None,
    inputs: Sequence[TensorSpec] | None,
    tensorrt: bool,
    work: Path,
    isolated: ChildProcess,
    console: Console,
    cases: FurtherCases,
) -> TypedGraph:
    """The same of a plain file, held against its own fp32 answers: for a CPU, or with `tensorrt` for TensorRT."""
    if options.calibrate is not None:
        options.check_read(scheme)
    specs = inputs or embedded_inputs(path)
    folder = work / "record"
    folder.mkdir()
    facts = check_source(path)
    record = own_record(path, facts, specs, folder, isolated)
    tolerance = scheme.tolerance(rtol, Tolerance(fills=record.fills))
    graph = work / "graph"
    graph.mkdir()
    one = Quantisation(
        path.stem,
        named(path, graph),
        scheme,
        record,
        tolerance,
        isolated,
        graph,
        options.min_agreement,
        rtol is None,
        cases,
        drawn_specs(facts, specs),
    )

    @cache
    def half(_: str) -> HalfForm:
        (work / "half").mkdir()
        conversion = file_conversion(path, half_scheme(), False, None, inputs, work / "half", isolated)
        return converted_half(conversion, path.stem, conversion.record, console, cases)

    with console.stage(scheme.name) as line:
        one.prepare(options, None, console)
        forms, _ = _made([one], path.name, options, half if tensorrt and scheme.tensorrt else None, console)
        line.done(_done([one]))
    return _report([one], forms, console)[0][-1]
