"""Facts of an ONNX file, and the few edits that export makes to one; weights stay on disk."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx_ir as ir
from attn_runtime.errors import BundleError, CaptureError
from attn_runtime.spec import TensorSpec
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

#: Weights beyond this many bytes go to a data file beside the graph: protobuf ends at 2 GB, and a small graph file
#: with memory-mapped weights loads without a second copy.
EXTERNAL_FROM_BYTES = 256 << 20


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


def load(path: Path) -> ir.Model:
    """The model, its external weights left on disk. BundleError for a file that is no ONNX model."""
    try:
        return ir.load(path)
    except Exception as problem:
        raise BundleError(f"{path} is no readable ONNX model: {' '.join(str(problem).split())[:200]}") from problem


def read_info(path: Path) -> GraphInfo:
    """Read the graph without its external weights. BundleError for a file that is no ONNX model."""
    return info_of(load(path))


def info_of(model: ir.Model) -> GraphInfo:
    """The same of a model that is loaded already."""
    graph = model.graph
    weights = [v.const_value for v in graph.initializers.values() if v.const_value is not None]
    return GraphInfo(
        tuple(_io_info(v) for v in graph.inputs if not v.is_initializer()),
        tuple(_io_info(v) for v in graph.outputs),
        opset_of(model),
        # Constants are data, and the bodies of If and Loop count.
        sum(node.op_type != "Constant" for node in graph.all_nodes()),
        sum(t.nbytes for t in weights),
        tuple(sorted({str(t.location) for t in weights if isinstance(t, ir.ExternalTensor)})),
    )


def weights_to_inputs(graph: ir.Graph, chosen: Callable[[ir.TensorProtocol], bool]) -> None:
    """Make inputs of the weights whose tensor is `chosen`, for tools that need not see what these hold."""
    for name, value in list(graph.initializers.items()):
        if value.const_value is not None and chosen(value.const_value):
            del graph.initializers[name]
            if not value.is_graph_input():
                graph.inputs.append(value)


def opset_of(model: ir.Model) -> int:
    """The version of ONNX's own operators; 0 for a model that uses none."""
    return model.opset_imports.get("", model.opset_imports.get("ai.onnx", 0))


def _io_info(value: ir.Value) -> IoInfo:
    dtype = value.dtype if isinstance(value.type, ir.TensorType) else None
    axes = (d if isinstance(d, int) else d.value or "?" for d in value.shape or ())
    return IoInfo(value.name or "", dtype.numpy().name if dtype else "unknown", tuple(axes))


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
    made = (value for node in model.graph.all_nodes() for value in node.outputs)
    for value in (*model.graph.inputs, *model.graph.initializers.values(), *made):
        if value.shape is not None and any(not isinstance(d, int) for d in value.shape):
            value.shape = ir.Shape([_renamed(d, names) for d in value.shape])


def _renamed(dim: int | ir.SymbolicDim, names: Mapping[str, str]) -> int | str | None:
    if isinstance(dim, int) or dim.value is None:
        return dim if isinstance(dim, int) else None
    return re.sub(r"[A-Za-z_]\w*", lambda m: names.get(m[0], m[0]), str(dim.value))


def save(model: ir.Model, path: Path) -> None:
    """Write the model; large weights go to `path`.data, streamed tensor by tensor."""
    held = [(v, v.const_value) for v in model.graph.initializers.values() if v.const_value is not None]
    if sum(tensor.nbytes for _, tensor in held) < EXTERNAL_FROM_BYTES:
        ir.save(model, path)
        return
    in_order = _InOrder(max(tensor.nbytes for _, tensor in held))
    try:
        for value, tensor in held:
            value.const_value = in_order.of(tensor)
        ir.save(model, path, external_data=path.name + ".data", size_threshold_bytes=1024)
    finally:
        for value, tensor in held:
            value.const_value = tensor


def save_proto(model: onnx.ModelProto, path: Path, beside: bool) -> None:
    """Write a model that is held whole; `beside`: its weights of a thousand bytes and more go to `path`.data."""
    if beside:
        onnx.save(model, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=1024)
    else:
        onnx.save(model, path)


class _InOrder:
    """Tensors in memory order, copied when they are written: numpy writes a transposed view element by element.

    The exporter folds the transposes of linear layers into such views. One copy lives at a time, and all in the same memory:
    pages that are new took longer than what is copied into them.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._room: torch.Tensor | None = None

    def of(self, tensor: ir.TensorProtocol) -> ir.TensorProtocol:
        """The tensor itself where it lies in order."""
        raw = tensor.raw if isinstance(tensor, ir.Tensor) else None
        if not isinstance(raw, np.ndarray) or raw.flags.c_contiguous:
            return tensor
        shape = ir.Shape(raw.shape)
        return ir.LazyTensor(partial(self._copied, tensor, raw), dtype=tensor.dtype, shape=shape, name=tensor.name)

    def _copied(self, tensor: ir.TensorProtocol, raw: NDArray[Any]) -> ir.TensorProtocol:
        import torch  # many times faster at it than numpy; not for the child process, which has none

        turned = torch.from_numpy(raw)
        if self._room is None:
            self._room = torch.empty(self._most_bytes, dtype=torch.uint8)
        place = self._room[: raw.nbytes].view(turned.dtype).view(turned.shape)
        return ir.Tensor(place.copy_(turned).numpy(), dtype=tensor.dtype, name=tensor.name)


def annotate(path: Path, properties: Mapping[str, str]) -> None:
    """Set metadata properties of the model in place; its external data stays where it is."""
    model = load(path)
    model.metadata_props.update(properties)
    ir.save(model, path)
