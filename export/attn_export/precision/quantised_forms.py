"""A quantised precision of all graphs of a bundle: one choice per weight for all of them, and the form for TensorRT of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import onnx
from attn_runtime.bundle import Bundle, Graph
from attn_runtime.child_process import ChildProcess
from attn_runtime.compare import Tolerance
from attn_runtime.errors import BackendError, ParityError, UsageError, did_you_mean
from attn_runtime.spec import TensorSpec

from ..attention import find_blocks
from ..console import Console
from ..onnx_graph import EXTERNAL_FROM_BYTES, info_of, load, read_info
from ..parity import ReferenceSet, drawn_specs, golden_record, own_record, parity_error, passed, worst
from . import schemes
from .front import front_table, measure_front
from .half import Conversion, FurtherCases, Live, TypedGraph, convert_graph, for_tensorrt, judge, of_bundle
from .quantisation import MAX_LEFT, SHARES, Quantisation, asked
from .quantised import QuantiseOptions, cut_products, insert, save
from .schemes import HalfScheme, QuantisedScheme
from .sources import bundle_conversion, check_source, embedded_inputs, file_conversion, fp32_of, named

#: A generator's answer; its other outputs go from graph to graph, and may be off so many times further, but no more than half.
_LOGITS, _TIMES_INNER, _MOST_INNER = "logits", 4.0, 0.5
#: In which type the rest of a graph is that TensorRT is given.
_REST = "fp16"
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
    every = []
    for name, graph in opened.graphs.items():
        fp32 = fp32_of(graph)
        check_source(fp32.file)
        folder = work / name
        folder.mkdir()
        one = Quantisation(
            name, named(fp32.file, folder), scheme, golden_record(opened, graph, scheme.held_to),
            _limits(opened, graph, scheme, rtol), isolated, folder, options.min_agreement, rtol is None,
            of_bundle(opened, graph, scheme.held_to, live.get(name)),
        )  # fmt: skip
        every.append(one)
    with console.stage(scheme.name) as line:
        for one in every:
            own = console.about(f"{one.graph}: ") if len(every) > 1 else console
            one.prepare(options, opened.graph(one.graph), own, [other.weights_file for other in every])
        _check_leave(every, options.leave)
        _check_sites(every, opened.path.name)
        typed = _held(every)
        line.done(_done(every))
    typed = _report(every, typed, console)
    made = {one.graph: [form] for one, form in zip(every, typed, strict=True)}
    if tensorrt and scheme.tensorrt:
        for one in every:
            own = console.about(f"{one.graph}: ") if len(every) > 1 else console
            graph = opened.graph(one.graph)
            base = _half_graph(one, opened, graph, own)
            record = golden_record(opened, graph, None if scheme.calibrated else _half().type)
            form = None if base is None else tensorrt_form(one, made[one.graph][0], base, record, own)
            if form is not None:
                made[one.graph].append(form)
    return made


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
    """UsageError where there is nothing to quantise in any of them."""
    if not any(one.sites for one in every):
        scheme = every[0].scheme
        reasons = sorted({reason for one in every for reason in one.unfit.values()})
        raise UsageError(
            f"{name}: {scheme.name} finds nothing to quantise, no {', '.join(scheme.operators)} with a constant weight of a "
            f"thousand elements{''.join(f' whose size fits: {reason}' for reason in reasons[:1])}; take another precision"
        )


def _held(every: Sequence[Quantisation]) -> list[TypedGraph]:
    """Choose and write, with less of the limit where what is really computed is further off than what was measured."""
    last: ParityError | None = None
    for share in SHARES:
        for one in every:
            one.choose(share)
        _agree(every)
        for one in every:
            if (left := one.share_left()) > MAX_LEFT:
                raise last or one.too_much_left(left)
        try:
            return [one.write() for one in every]
        except ParityError as problem:
            last = problem
    assert last is not None
    raise last


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


def _report(every: Sequence[Quantisation], typed: Sequence[TypedGraph], console: Console) -> list[TypedGraph]:
    """Tell how each graph was held, what is left, and the front; the graphs with their fronts."""
    told = []
    for one, form in zip(every, typed, strict=True):
        own = console.about(f"{one.graph}: ") if len(every) > 1 else console
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
        told.append(replace(form, front=tuple(point.to_json() for point in points)))
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
    with console.stage(scheme.name) as line:
        one.prepare(options, None, console)
        _check_leave([one], options.leave)
        _check_sites([one], path.name)
        typed = _held([one])[0]
        line.done(_done([one]))
    (typed,) = _report([one], [typed], console)
    if not tensorrt or not scheme.tensorrt:
        return typed
    half = _half()
    (work / "half").mkdir()
    conversion = file_conversion(path, half, False, None, inputs, work / "half", isolated)
    made = convert_graph(conversion, path.stem, console, cases=cases)
    base = for_tensorrt(conversion, made, console, cases) or made
    return tensorrt_form(one, typed, base, conversion.record, console) or typed


def _half() -> HalfScheme:
    half = schemes.get(_REST)
    assert isinstance(half, HalfScheme)
    return half


def tensorrt_form(
    one: Quantisation, typed: TypedGraph, base: TypedGraph, record: ReferenceSet, console: Console
) -> TypedGraph | None:
    """The same numbers in `base`, whose rest is float16, as DequantizeLinear: for TensorRT, held on its emulated graph."""
    with console.stage("tensorrt") as line:
        model = onnx.load(base.path, load_external_data=False)
        names = {node.name for node in model.graph.node}
        chosen = [site for site in one.sites if site.node not in one.left and site.node in names]
        if not chosen or one.weights is None:
            line.done("nothing of it is quantised")
            return None
        cut, weights = cut_products(model, base.path.parent, chosen, one.weights)
        insert(model, cut, weights, one.scales)
        path = one.work / f"{one.scheme.name}-trt.onnx"
        save(model, base.path.parent, path)
        large = read_info(path).weight_bytes >= EXTERNAL_FROM_BYTES
        conversion = Conversion(
            one.source, _half(), record, one.tolerance, base.half_io, one.isolated, one.work, {}, large
        )
        _, checks = judge(conversion, path)
        if not passed(checks):
            advice = (
                "Allow more with --max-error, or leave out the form for TensorRT with --skip-pass attention. "
                f"No {one.scheme.name} graph was written."
            )
            raise parity_error(f"{one.scheme.name} for TensorRT", checks, record.against, advice=advice)
        line.done(
            f"{len(chosen)} weights in a float16 graph, emulated: worst error "
            f"{max(c.difference.relative_error for c in checks):.1e} of max|reference|"
        )
    written = load(path)
    form = replace(
        typed, name=f"{one.scheme.name}-trt", path=path, type=_half().type, fp32_nodes=base.fp32_nodes, share=base.share,
        blocks=find_blocks(written), checks=tuple(checks), half_io=base.half_io, nodes_before=typed.nodes_after,
        nodes_after=info_of(written).nodes, note="", target="tensorrt", tolerance=one.tolerance, front=(),
    )  # fmt: skip
    return replace(form, tolerance=one.tightened(form))


def _half_graph(one: Quantisation, opened: Bundle, graph: Graph, console: Console) -> TypedGraph | None:
    """The graph in float16 that TensorRT would be given: the bundle's own, or one made for this."""
    if _REST in graph.precisions:
        entry = graph.precision_for(_REST, "tensorrt")[1]
        return TypedGraph(
            _REST, entry.file, entry.type, graph.name, entry.kept, 0.0, entry.attention or (), entry.tolerance, (),
            entry.half_io, 0, 0, 0.0,
        )  # fmt: skip
    half = _half()
    try:
        half.require()
    except BackendError as problem:
        console.note(f"no {one.scheme.name} graph for TensorRT, whose rest would be float16: {problem}")
        return None
    half_io = opened.asset("generation") is not None
    conversion = bundle_conversion(opened, graph.name, half, half_io, None, one.work / "half", one.isolated)
    made = convert_graph(conversion, graph.name, console, cases=one.cases)
    return for_tensorrt(conversion, made, console, one.cases) or made
