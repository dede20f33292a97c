"""NVIDIA ModelOpt's AutoCast, at arm's length: from an fp32 graph to a strongly typed one in half precision.

Which nodes stay in fp32 it is told by name; it adds those whose operator has no half precision, and all the casts.
Bodies of If, Loop and Scan it never sees (`bodies.py`). Everything here runs in the child process (`convert_here`), for
AutoCast logs, prints and now and then crashes.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
from attn_runtime.child_process import ChildProcess, TaskFailed
from attn_runtime.errors import BackendError, PassError
from onnx import helper, numpy_helper

from ...onnx_graph import EXTERNAL_FROM_BYTES, save_proto
from .bodies import bodies_of, has_bodies, put_back, take_out
from .element_types import tensor_types
from .emulation import MOVES

_NEEDED = ("modelopt", "onnx_graphsurgeon", "polygraphy", "onnxconverter_common")

#: Protobuf ends at 2 GiB, and AutoCast holds the whole fp32 graph as one message to infer its types.
MAX_BYTES = (2 << 30) - (64 << 20)

#: Weights of fewer bytes may have a copy for each node that reads them.
_COPIED_UP_TO = 1 << 16

#: What imports AutoCast in a child process.
WARM_UP = "attn_export.precision.typed.autocast:warm_up_here"


def require_autocast() -> None:
    """BackendError, with the line that installs it, unless AutoCast is here. Imports nothing."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise BackendError(
            f"half precision needs NVIDIA ModelOpt's AutoCast: {', '.join(missing)} not installed; "
            "pip install nvidia-modelopt onnx-graphsurgeon onnxconverter-common onnxslim polygraphy lief ml_dtypes"
        )


class HalfType(Protocol):
    """What AutoCast has to know of a type, as a scheme of half precision tells it."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def onnx_type(self) -> int: ...
    @property
    def max_finite(self) -> float: ...


@dataclass(frozen=True)
class Cast:
    """A typed graph, and the names of its nodes that are in fp32: those that do arithmetic, and those that move values."""

    path: Path
    in_fp32: tuple[str, ...]
    moved_in_fp32: tuple[str, ...]


def read_cast(path: Path) -> Cast:
    """What is in fp32 in the typed graph at `path`. BundleError for a graph whose types can't be told."""
    nodes = list(nodes_in_fp32(onnx.load(path, load_external_data=False)))
    return Cast(path, tuple(n.name for n in nodes if computes(n)), tuple(n.name for n in nodes if not computes(n)))


def to_half(
    source: Path,
    target: Path,
    scheme: HalfType,
    isolated: ChildProcess,
    *,
    fp32_nodes: Sequence[str] = (),
    saturate: Sequence[str] = (),
    half_io: bool = False,
) -> None:
    """A `Convert`, whose contract is in schemes/_half.py, to a `type` that is one of AutoCast's own."""
    try:
        isolated.run(
            "attn_export.precision.typed.autocast:convert_here",
            scheme.name,
            source=str(source),
            target=str(target),
            type=scheme.type,
            onnx_type=scheme.onnx_type,
            max_finite=scheme.max_finite,
            fp32_nodes=list(fp32_nodes),
            saturate=list(saturate),
            half_io=half_io,
        )
    except TaskFailed as problem:
        raise PassError(f"AutoCast can't convert {source.name} to {scheme.name}: {problem}") from problem


def computes(node: onnx.NodeProto) -> bool:
    """Whether the node does arithmetic, where it has floating-point values at all: it neither moves nor casts them.

    One with bodies does what any node in them does.
    """
    if has_bodies(node):
        return any(computes(inner) for body in bodies_of(node) for inner in body.node)
    return node.op_type not in MOVES and node.op_type not in _NO_ARITHMETIC


_NO_ARITHMETIC = frozenset(
    {"Cast", "CastLike", "Constant", "ConstantOfShape", "Shape", "Size", "Range", "NonZero", "EyeLike", "OneHot"}
)


def nodes_in_fp32(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """The nodes of the main graph that make fp32 tensors, casts and constants aside."""
    types = tensor_types(model)
    for node in model.graph.node:
        made = [types.element(name) for name in node.output if name]
        if node.op_type not in _NO_ARITHMETIC and onnx.TensorProto.FLOAT in made:
            yield node


def convert_here(
    source: str,
    target: str,
    type: str,
    onnx_type: int,
    max_finite: float,
    fp32_nodes: list[str],
    saturate: list[str],
    half_io: bool,
) -> dict[str, Any]:
    """The task of the child process: AutoCast from file to file; module paths are carried over."""
    from modelopt.onnx.autocast import convert_to_mixed_precision

    path, before = Path(target), onnx.load(source, load_external_data=False)
    held, given = None, source
    if any(has_bodies(node) for node in before.graph.node):
        whole, given = onnx.load(source), str(path.with_name("without-bodies.onnx"))
        held = take_out(whole)
        if not any(computes(node) for node in whole.graph.node):
            raise ValueError("all of its arithmetic is in the bodies of If, Loop and Scan, which stay in fp32")
        onnx.save(whole, given)
        fp32_nodes = [*fp32_nodes, *(held.stand_ins if held else ())]
    with large_weights_once():
        typed = convert_to_mixed_precision(
            given,
            low_precision_type=type,
            nodes_to_exclude=[f"{re.escape(name)}\\Z" for name in fp32_nodes],
            data_max=math.inf,
            init_max=math.inf,
            keep_io_types=not half_io,
        )
    if held is not None:
        put_back(typed, held, onnx_type, half_io)
    restore(before, typed)
    hold_limits(before, Path(source).parent, typed, onnx_type, max_finite)
    clip_casts(typed, frozenset(saturate), type, onnx_type, max_finite)
    save_proto(typed, path, sum(len(t.raw_data) for t in typed.graph.initializer) >= EXTERNAL_FROM_BYTES)
    return {}


@contextmanager
def large_weights_once() -> Iterator[None]:
    """While it is open, AutoCast gives no copy of a large weight to each node that reads it.

    Layers that share their weights (ALBERT) would have them twelve times, in every candidate. A weight that nodes of both
    precisions read is copied all the same, once. ModelOpt 0.47 has no option for it.
    """
    from modelopt.onnx.autocast.graphsanitizer import GraphSanitizer

    copied = GraphSanitizer.duplicate_shared_constants

    def small_ones(sanitizer: Any) -> None:
        graph = sanitizer.model.graph
        weights = list(graph.initializer)
        large = [tensor for tensor in weights if len(tensor.raw_data) >= _COPIED_UP_TO]
        if large:
            small = [tensor for tensor in weights if len(tensor.raw_data) < _COPIED_UP_TO]
            del graph.initializer[:]
            graph.initializer.extend(small)
        copied(sanitizer)
        sanitizer.model.graph.initializer.extend(large)

    GraphSanitizer.duplicate_shared_constants = small_ones
    try:
        yield
    finally:
        GraphSanitizer.duplicate_shared_constants = copied


def warm_up_here() -> dict[str, Any]:
    """Import AutoCast, which takes seconds, while the parent reads and measures."""
    import modelopt.onnx.autocast  # noqa: F401

    return {}


def restore(source: onnx.ModelProto, typed: onnx.ModelProto) -> None:
    """Put back what AutoCast drops: the model's properties, each node's module path and source line, the tensors' shapes.

    An inserted cast gets those of the node whose value it casts, or of the one that reads it.
    """
    by_output: dict[str, onnx.NodeProto] = {name: node for node in source.graph.node for name in node.output}
    readers = {name: node for node in reversed(typed.graph.node) for name in node.input}

    def origin(node: onnx.NodeProto) -> onnx.NodeProto | None:
        for name in node.output:
            for known in (name, name.removesuffix("_pre_cast")):
                if known in by_output and by_output[known].op_type == node.op_type:
                    return by_output[known]
        if node.op_type != "Cast":
            return None
        made = by_output.get(node.input[0].removesuffix("_pre_cast"))
        reader = readers.get(node.output[0])
        return made or (origin(reader) if reader is not None and reader is not node else None)

    for node in typed.graph.node:
        was = origin(node)
        if was is not None:
            del node.metadata_props[:]
            node.metadata_props.extend(was.metadata_props)
    del typed.metadata_props[:]
    typed.metadata_props.extend(source.metadata_props)
    _restore_shapes(source.graph, typed.graph)


def _restore_shapes(source: onnx.GraphProto, typed: onnx.GraphProto) -> None:
    """AutoCast calls different dynamic sizes by one name, and ONNX Runtime then reuses memory that is too small."""
    shapes = {v.name: v.type.tensor_type.shape for v in (*source.value_info, *source.input, *source.output)}
    known = []
    for value in (*typed.value_info, *typed.input, *typed.output):
        shape = shapes.get(value.name.removesuffix("_pre_cast"))
        if shape is not None and value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.CopyFrom(shape)
            known.append(value)
    names = {v.name for v in known}
    still_known = [v for v in typed.value_info if v.name in names]
    del typed.value_info[:]
    typed.value_info.extend(still_known)
    for node in typed.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                del attribute.g.value_info[:]


def hold_limits(
    source: onnx.ModelProto, folder: Path, typed: onnx.ModelProto, onnx_type: int, max_finite: float
) -> None:
    """Constants beyond the type's range again: finite ones as its largest number, infinite ones infinite.

    AutoCast makes -inf in float16 a number that a row of scores can be compared with, and -3.4e38 in bfloat16 -inf, which
    is NaN where it meets 0. Weights that several nodes read have copies there, whose names begin with theirs.
    """
    stored = [(t.name, t) for t in source.graph.initializer]
    wide: dict[str, np.ndarray[Any, Any]] = {}
    for name, tensor in [*stored, *_constant_nodes(source.graph)]:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            value = numpy_helper.to_array(tensor, str(folder))
            if (np.abs(value) > max_finite).any():
                wide[name] = value
    for name, tensor in [*((t.name, t) for t in typed.graph.initializer), *_constant_nodes(typed.graph)]:
        origin = max((n for n in wide if name == n or name.startswith(f"{n}_")), key=len, default=None)
        if tensor.data_type != onnx_type or origin is None or tuple(tensor.dims) != wide[origin].shape:
            continue
        value = wide[origin]
        held = np.where(np.isinf(value), value, np.clip(value, -max_finite, max_finite))
        kind = helper.tensor_dtype_to_np_dtype(onnx_type)
        tensor.CopyFrom(numpy_helper.from_array(held.astype(kind), tensor.name))


def _constant_nodes(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    for node in graph.node:
        for attribute in node.attribute if node.op_type == "Constant" else ():
            if attribute.HasField("t"):
                yield node.output[0], attribute.t


def clip_casts(typed: onnx.ModelProto, saturate: frozenset[str], type: str, onnx_type: int, max_finite: float) -> None:
    """Put a Clip to the range of `type` before each cast of a tensor in `saturate`: a cast alone makes it infinite.

    For numbers that stand for infinity, as the -3.4e38 of masks do; AutoCast does the same to constants.
    """
    nodes: list[onnx.NodeProto] = []
    for node in typed.graph.node:
        if node.op_type == "Cast" and node.input[0] in saturate and node.attribute[0].i == onnx_type:
            name = node.input[0]
            clipped = f"{name}_clipped_to_{type}"
            if not any(clipped in done.output for done in nodes):
                nodes.append(helper.make_node("Clip", [name, *_BOUNDS], [clipped], name=clipped))
                nodes[-1].metadata_props.extend(node.metadata_props)
            node.input[0] = clipped
        nodes.append(node)
    if len(nodes) > len(typed.graph.node):
        del typed.graph.node[:]
        typed.graph.node.extend(nodes)
        for name, value in zip(_BOUNDS, (-max_finite, max_finite), strict=True):
            typed.graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.float32), name))


_BOUNDS = ("half_precision_least", "half_precision_most")
