"""What a conversion starts from: the fp32 graph with a name on every node, and the answers that it is held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import onnx
from attn_runtime.bundle import KEY, Bundle, Graph, Precision, read_embedded
from attn_runtime.child_process import ChildProcess, TaskFailed
from attn_runtime.compare import Tolerance
from attn_runtime.errors import BundleError, PassError, UsageError
from attn_runtime.spec import TensorSpec

from ..onnx_graph import EXTERNAL_FROM_BYTES, GraphInfo, read_info, with_own_data
from ..parity import ReferenceSet, golden_record, own_record
from .half import Conversion
from .layerwise import precision_of, ranges
from .schemes import HalfScheme
from .typed import MAX_BYTES

#: Operators of graphs whose products or weights are quantised.
_QUANTISED = {
    "ConvInteger",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "MatMulInteger",
    "MatMulNBits",
    "QuantizeLinear",
}


def bundle_conversion(
    opened: Bundle,
    graph: str,
    scheme: HalfScheme,
    half_io: bool,
    rtol: float | None,
    work: Path,
    isolated: ChildProcess,
) -> Conversion:
    """What converting one graph of a bundle takes. BundleError where it has no fp32 precision or no golden cases."""
    own = opened.graph(graph)
    fp32 = fp32_of(own)
    tolerance = scheme.tolerance(rtol, fp32.tolerance)
    record = golden_record(opened, own, scheme.type)
    made = conversion_of(fp32.file, scheme, record, tolerance, half_io, work / graph, isolated)
    return replace(made, own_limits=rtol is None)


def file_conversion(
    path: Path,
    scheme: HalfScheme,
    half_io: bool,
    rtol: float | None,
    inputs: Sequence[TensorSpec] | None,
    work: Path,
    isolated: ChildProcess,
) -> Conversion:
    """What converting a plain file takes."""
    info = check_source(path)
    folder = work / "record"
    folder.mkdir()
    record = own_record(path, info, inputs or embedded_inputs(path), folder, isolated)
    tolerance = scheme.tolerance(rtol, Tolerance(fills=record.fills))
    made = conversion_of(path, scheme, record, tolerance, half_io, work / "graph", isolated)
    return replace(made, own_limits=rtol is None)


def conversion_of(
    source: Path,
    scheme: HalfScheme,
    record: ReferenceSet,
    tolerance: Tolerance,
    half_io: bool,
    work: Path,
    isolated: ChildProcess,
) -> Conversion:
    """What converting the graph at `source` takes; `work` is made. UsageError for a graph that can't be converted."""
    work.mkdir(parents=True)
    before = check_source(source)
    source = named(source, work)
    large = before.weight_bytes >= EXTERNAL_FROM_BYTES
    try:
        largest = ranges(source, record.inputs, isolated)
    except TaskFailed as problem:
        raise PassError(f"the fp32 graph can't be measured: {problem}") from problem
    return Conversion(source, scheme, record, tolerance, half_io, isolated, work, largest, large)


def fp32_of(graph: Graph) -> Precision:
    """The precision fp32 of a bundle's graph. BundleError where it has none."""
    if "fp32" not in graph.precisions:
        raise BundleError(
            f"bundle {graph.bundle}: graph {graph.name} has no precision fp32 to convert, only "
            f"{', '.join(graph.precisions)}; export it again"
        )
    return graph.precisions["fp32"]


def check_source(source: Path, most_bytes: int = MAX_BYTES) -> GraphInfo:
    """What is known of the graph at `source`, read without its external weights.

    UsageError where it is too large, in half precision already, or quantised.
    """
    info = read_info(source)
    size = info.weight_bytes
    if size > most_bytes:
        raise UsageError(
            f"{source.name} has {size / 1e9:.1f} GB of weights; AutoCast holds them as one protobuf message, which ends at "
            f"{MAX_BYTES / 1e9:.1f} GB. Export the module in half precision (model.half()), or in parts"
        )
    model = onnx.load(source, load_external_data=False)
    if (scheme := precision_of(model)) is not None:
        raise UsageError(f"{source.name} is in {scheme.name} already; give the fp32 graph that it was made from")
    if found := sorted({node.op_type for node in model.graph.node} & _QUANTISED):
        raise UsageError(
            f"{source.name} is quantised already ({', '.join(found)}); give the fp32 graph that it was made from"
        )
    return info


def named(source: Path, work: Path) -> Path:
    """The graph with a name of its own on every node, a copy in `work` where it has not: nodes are left in fp32 by name."""
    source = with_own_data(source, work)
    names = [node.name for node in onnx.load(source, load_external_data=False).graph.node]
    if "" not in names and len(set(names)) == len(names):
        return source
    model = onnx.load(source)
    taken: set[str] = set()
    for number, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{number}"
            while node.name in taken:
                node.name += "_"
        taken.add(node.name)
    onnx.save(model, work / "named.onnx")
    return work / "named.onnx"


def embedded_inputs(path: Path) -> tuple[TensorSpec, ...] | None:
    """What the metadata of a plain file says of its inputs; None where it says nothing."""
    properties = {p.key: p.value for p in onnx.load(path, load_external_data=False).metadata_props}
    return read_embedded(properties[KEY], path.name).inputs if KEY in properties else None
