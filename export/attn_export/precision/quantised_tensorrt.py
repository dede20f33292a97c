"""The form of a quantised graph for TensorRT: the same numbers in a graph whose rest is float16, held on its emulated graph."""

from __future__ import annotations

from dataclasses import dataclass, replace

import onnx
from attn_runtime.bundle import Bundle, Graph
from attn_runtime.errors import BackendError

from ..attention import find_blocks
from ..console import Console
from ..onnx_graph import EXTERNAL_FROM_BYTES, info_of, load, read_info
from ..parity import ReferenceSet, golden_record, parity_error, passed
from . import schemes
from .half import Conversion, FurtherCases, TypedGraph, convert_graph, for_tensorrt, judge
from .quantisation import Quantisation
from .quantised import cut_products, insert, save
from .schemes import HalfScheme
from .sources import bundle_conversion

#: In which type the rest of a graph is that TensorRT is given.
_REST = "fp16"


@dataclass(frozen=True)
class HalfForm:
    """A graph in float16 as TensorRT would be given it, and the answers that what is made of it is held to."""

    base: TypedGraph
    record: ReferenceSet


def half_scheme() -> HalfScheme:
    """The scheme of the rest of the graph."""
    half = schemes.get(_REST)
    assert isinstance(half, HalfScheme)
    return half


def half_form(one: Quantisation, opened: Bundle, graph: Graph, console: Console) -> HalfForm | None:
    """The bundle's own graph in float16, or one made for this; None, which is told, where what makes it is not installed."""
    half = half_scheme()
    record = golden_record(opened, graph, None if one.scheme.calibrated else half.type)
    if _REST in graph.precisions:
        entry = graph.precision_for(_REST, "tensorrt")[1]
        base = TypedGraph(
            _REST, entry.file, entry.type, graph.name, entry.kept, 0.0, entry.attention or (), entry.tolerance, (),
            entry.half_io, 0, 0, 0.0,
        )  # fmt: skip
        return HalfForm(base, record)
    try:
        half.require()
    except BackendError as problem:
        console.note(f"no {one.scheme.name} graph for TensorRT, whose rest would be float16: {problem}")
        return None
    half_io = opened.asset("generation") is not None
    conversion = bundle_conversion(opened, graph.name, half, half_io, None, one.work / "half", one.isolated)
    return converted_half(conversion, graph.name, record, console, one.cases)


def converted_half(
    conversion: Conversion, graph: str, record: ReferenceSet, console: Console, cases: FurtherCases
) -> HalfForm:
    """What `conversion` comes to, as TensorRT would be given it."""
    made = convert_graph(conversion, graph, console, cases=cases)
    return HalfForm(for_tensorrt(conversion, made, console, cases) or made, record)


def tensorrt_form(one: Quantisation, typed: TypedGraph, half: HalfForm, console: Console) -> TypedGraph | None:
    """The numbers of `typed` in the graph of `half`, as DequantizeLinear; None where nothing of it is quantised.

    Raises ParityError where both roundings together are too much.
    """
    base, record = half.base, half.record
    with console.stage("tensorrt") as line:
        model = onnx.load(base.path, load_external_data=False)
        names = {node.name for node in model.graph.node}
        chosen = [site for site in one.sites if site.node not in one.left and site.node in names]
        rounded = one.weights
        if not chosen or rounded is None:
            line.done("nothing of it is quantised")
            return None
        cut, weights = cut_products(model, base.path.parent, chosen, rounded)
        insert(model, cut, weights, one.scales)
        path = one.work / f"{one.scheme.name}-trt.onnx"
        save(model, base.path.parent, path)
        large = read_info(path).weight_bytes >= EXTERNAL_FROM_BYTES
        conversion = Conversion(
            one.source, half_scheme(), record, one.tolerance, base.half_io, one.isolated, one.work, {}, large
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
        typed, name=f"{one.scheme.name}-trt", path=path, type=half_scheme().type, fp32_nodes=base.fp32_nodes, share=base.share,
        blocks=find_blocks(written), checks=tuple(checks), half_io=base.half_io, nodes_before=typed.nodes_after,
        nodes_after=info_of(written).nodes, note="", target="tensorrt", tolerance=one.tolerance, front=(),
    )  # fmt: skip
    return replace(form, tolerance=one.tightened(form))
