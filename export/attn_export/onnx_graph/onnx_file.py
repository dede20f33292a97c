"""Facts of an ONNX file, and the few edits that export makes to one; weights stay on disk."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import torch
from attn_runtime.errors import BundleError, CaptureError
from attn_runtime.spec import TensorSpec

from .external import EXTERNAL_FROM_BYTES


@dataclass(frozen=True)
class IoInfo:
    """One graph input or output as the file declares it; a dynamic axis is its name or expression."""

    name: str
    dtype: str
    axes: tuple[int | str, ...]


@dataclass(frozen=True)
class GraphInfo:
    inputs: tuple[IoInfo, ...]
    outputs: tuple[IoInfo, ...]
    opset: int
    nodes: int
    weight_bytes: int
    data_files: tuple[str, ...]


def read_info(path: Path) -> GraphInfo:
    """Read the graph without its external weights. BundleError for a file that is no ONNX model."""
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as problem:
        raise BundleError(f"{path} is no readable ONNX model: {problem}") from problem
    graph = model.graph
    files = {
        entry.value
        for t in graph.initializer
        for entry in t.external_data
        if entry.key == "location" and t.data_location
    }
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    initializers = {t.name for t in graph.initializer}
    return GraphInfo(
        tuple(_border(v) for v in graph.input if v.name not in initializers),
        tuple(_border(v) for v in graph.output),
        opset,
        count_nodes(graph),
        sum(_bytes(t) for t in graph.initializer),
        tuple(sorted(files)),
    )


def count_nodes(graph: onnx.GraphProto) -> int:
    """Nodes that do something: constants are data, and the bodies of If and Loop count."""
    total = 0
    for node in graph.node:
        total += node.op_type != "Constant"
        total += sum(count_nodes(a.g) for a in node.attribute if a.HasField("g"))
    return total


def names_read(graph: onnx.GraphProto) -> set[str]:
    """Every value that a node or an output reads, in the bodies of If and Loop too."""
    read = {name for node in graph.node for name in node.input} | {o.name for o in graph.output}
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                read |= names_read(attribute.g)
    return read


def _bytes(tensor: onnx.TensorProto) -> int:
    count = 1
    for n in tensor.dims:
        count *= n
    return count * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def _border(value: onnx.ValueInfoProto) -> IoInfo:
    tensor = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name if tensor.elem_type else "unknown"
    axes = tuple(d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in tensor.shape.dim)
    return IoInfo(value.name, dtype, axes)


def name_dims(model: ir.Model, specs: Sequence[TensorSpec]) -> None:
    """Give the graph's symbolic dims (s40, ...) the names that the user declared, and compare the two.

    CaptureError when an axis that was asked to be dynamic is baked in, the silent error of exporters; or when two
    declared dims turned out to be one.
    """
    names: dict[str, str] = {}
    by_name = {v.name: v for v in model.graph.inputs}
    for spec in specs:
        value = by_name.get(spec.name)
        if value is None or value.shape is None:
            raise CaptureError(
                f'input "{spec.name}" is not in the graph: the module does not use it. '
                f"Leave it out; the graph has: {', '.join(map(str, by_name))}"
            )
        for axis, (dim, found) in enumerate(zip(spec.dims, value.shape, strict=True)):
            if isinstance(found, int):
                if dim.dynamic:
                    raise CaptureError(
                        f'dim {dim.name} was asked to be {dim.min}..{dim.max}, but axis {axis} of "{spec.name}" is fixed '
                        f"at {found} in the graph. Fix it with --dim {dim.name}={found}, or change the module."
                    )
                continue
            symbol = str(found.value)
            asked = dim.name or str(dim.opt)
            if names.setdefault(symbol, asked) != asked:
                raise CaptureError(
                    f"the module makes dims {names[symbol]} and {asked} equal; declare them as one dim of one name"
                )
    for value in _values(model):
        if value.shape is not None and any(not isinstance(d, int) for d in value.shape):
            value.shape = ir.Shape([_renamed(d, names) for d in value.shape])


def _renamed(dim: int | ir.SymbolicDim, names: Mapping[str, str]) -> int | str | None:
    if isinstance(dim, int) or dim.value is None:
        return dim if isinstance(dim, int) else None
    return re.sub(r"[A-Za-z_]\w*", lambda m: names.get(m[0], m[0]), str(dim.value))


def _values(model: ir.Model) -> list[ir.Value]:
    found = [*model.graph.inputs, *model.graph.initializers.values()]
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        found.extend(node.outputs)
    return found


def save(model: ir.Model, path: Path) -> None:
    """Write the model; large weights go to `path`.data, streamed tensor by tensor."""
    weights = [v.const_value for v in model.graph.initializers.values() if v.const_value is not None]
    if sum(t.nbytes for t in weights) >= EXTERNAL_FROM_BYTES:
        for value in model.graph.initializers.values():
            value.const_value = _in_order(value.const_value)
        ir.save(model, path, external_data=path.name + ".data", size_threshold_bytes=1024)
    else:
        ir.save(model, path)


def _in_order(tensor: ir.TensorProtocol | None) -> ir.TensorProtocol | None:
    """The tensor, copied in memory order when it is written: numpy writes a transposed view element by element.

    The exporter folds the transposes of linear layers into such views. One copy lives at a time.
    """
    raw = tensor.raw if isinstance(tensor, ir.Tensor) else None
    if tensor is None or not isinstance(raw, np.ndarray) or raw.flags.c_contiguous:
        return tensor
    return ir.LazyTensor(
        lambda: ir.Tensor(torch.from_numpy(raw).contiguous().numpy(), dtype=tensor.dtype, name=tensor.name),
        dtype=tensor.dtype,
        shape=ir.Shape(raw.shape),
        name=tensor.name,
    )


def annotate(path: Path, properties: Mapping[str, str]) -> None:
    """Set metadata properties of the model in place; its external data stays where it is."""
    model = onnx.load(path, load_external_data=False)
    onnx.helper.set_model_props(model, {p.key: p.value for p in model.metadata_props} | dict(properties))
    onnx.save(model, path)
