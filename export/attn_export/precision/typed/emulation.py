"""The emulated graph: an fp32 graph that computes what a GPU computes of a graph in half precision.

ONNX Runtime's CPU kernels can't judge a graph in fp16. They compute it in fp32 and drop the casts between two nodes, so
that a product beyond 65504 stays finite there and is inf on a GPU. The emulated graph computes every operator in fp32, as a GPU
does that accumulates in fp32, and rounds each tensor to the type that the typed graph gives it: overflow, underflow and
rounding show at the same places. docs/use/precision.md has the reasons and what it does not show.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnx.inliner
from attn_runtime.errors import BundleError
from onnx import TensorProto, helper, numpy_helper

from .element_types import HALVES, TensorTypes, element, tensor_types
from .float8 import round_by_casts

#: What a tensor is called before it is rounded, and while it is in half precision. No exporter makes such names.
EXACT, HALVED, ENTERED = "//exact", "//half", "//entered"

#: Operators that hand elements on as they are: what was rounded before them is rounded after them.
MOVES = frozenset({
    "Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Split", "Concat", "Gather",
    "GatherND", "GatherElements", "Expand", "Tile", "Where", "Pad", "DepthToSpace", "SpaceToDepth", "Compress",
    "Unique", "ReverseSequence", "Trilu", "If", "Loop", "Scan", "SplitToSequence", "SequenceConstruct",
    "SequenceInsert", "SequenceErase", "SequenceAt", "SequenceEmpty", "SequenceMap", "ConcatFromSequence",
    "Optional", "OptionalGetElement",
})  # fmt: skip

#: Attributes that hold an element type; `to` of Cast is a rounding, and handled as one.
_TYPE_ATTRIBUTES = ("dtype", "output_dtype", "output_datatype", "softmax_precision", "stash_type")


def emulate(typed: onnx.ModelProto, between: bool = True) -> onnx.ModelProto:
    """The emulated graph of a strongly typed one in half precision, mixed with fp32 as it may be.

    Every float16 and bfloat16 tensor of `typed` is a float32 tensor of the same name here, with the values that the type
    can hold; inputs and outputs too, which are float32 here. Weights stay in half precision and are cast, so that
    external data is shared: a graph in another folder than `typed` can't find it. `typed` is not changed. An input that is an
    output as well leaves as it came. Activations in fp8 are rounded to it, and multiplied in fp32.

    Without `between`, weights alone are rounded and nothing between two operators: the other end of what an engine may do,
    which keeps in wider registers whatever it fuses. What holds only because a rounding hides it shows there.

    Raises BundleError for a node that mixes types (by name), or whose types can't be told.
    """
    model = onnx.ModelProto()
    model.CopyFrom(onnx.inliner.inline_local_functions(typed) if typed.functions else typed)
    _emulate(model.graph, tensor_types(model), {}, between, top=True)
    round_by_casts(model.graph)
    return model


def _emulate(graph: onnx.GraphProto, types: TensorTypes, entered: Mapping[str, str], between: bool, top: bool) -> None:
    """Rewrite `graph` in place. `entered` maps the names of half inputs of the outermost graph to their rounding."""
    nodes: list[onnx.NodeProto] = []
    renamed = dict(entered)
    for value in graph.input:
        half = element(value.type)
        if top and between and half in HALVES:
            renamed[value.name] = f"{value.name}{ENTERED}"
            _cast_twice(nodes, value.name, renamed[value.name], half)
    for tensor in graph.sparse_initializer:
        if tensor.values.data_type in HALVES:
            raise BundleError(f"weight {tensor.values.name} is sparse and in half precision; store it dense")
    for tensor in graph.initializer:
        if tensor.data_type in HALVES:
            nodes.append(_cast(f"{tensor.name}{HALVED}", tensor.name, TensorProto.FLOAT))
            tensor.name += HALVED
    for node in graph.node:
        types.check(node)
        bodies = [g for a in node.attribute for g in ((a.g,) if a.HasField("g") else a.graphs)]
        for body, inner in zip(bodies, types.bodies(node), strict=True):
            _emulate(body, inner, renamed, between, top=False)
        for position, name in enumerate(node.input):
            node.input[position] = renamed.get(name, name)
        nodes.extend(_emulated_node(node, [types.element(name) for name in node.output], between))
    for value in (*graph.input, *graph.output):
        _widen(value.type)
    del graph.value_info[:]
    del graph.node[:]
    graph.node.extend(nodes)


def _emulated_node(node: onnx.NodeProto, kinds: list[int], between: bool) -> list[onnx.NodeProto]:
    """`node`, computing in fp32, and the casts that round what it makes; `kinds` are its outputs' element types."""
    if node.op_type in ("Cast", "CastLike") and kinds[0] in HALVES:
        name = node.output[0]
        if not between:
            return [_cast(node.input[0], name, TensorProto.FLOAT)]
        down = _cast(node.input[0], f"{name}{HALVED}", kinds[0])
        return [down, _cast(f"{name}{HALVED}", name, TensorProto.FLOAT)]
    _widen_attributes(node)
    result = [node]
    if not between or node.op_type in MOVES or node.op_type == "Constant":
        return result
    for position, (name, kind) in enumerate(zip(node.output, kinds, strict=True)):
        if name and kind in HALVES:
            node.output[position] = f"{name}{EXACT}"
            _cast_twice(result, f"{name}{EXACT}", name, kind)
    return result


def _cast_twice(nodes: list[onnx.NodeProto], source: str, target: str, half: int) -> None:
    nodes.append(_cast(source, f"{target}{HALVED}", half))
    nodes.append(_cast(f"{target}{HALVED}", target, TensorProto.FLOAT))


def _cast(source: str, target: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"{target}//cast", to=kind)


def _widen(kind: onnx.TypeProto) -> None:
    which = kind.WhichOneof("value")
    if which in ("sequence_type", "optional_type"):
        _widen(getattr(kind, which).elem_type)
    elif which == "tensor_type" and kind.tensor_type.elem_type in HALVES:
        kind.tensor_type.elem_type = TensorProto.FLOAT


def _widen_attributes(node: onnx.NodeProto) -> None:
    """Constants in half precision as float32 (exactly), and types that an attribute asks for."""
    for attribute in node.attribute:
        if attribute.HasField("t") and attribute.t.data_type in HALVES:
            value = numpy_helper.to_array(attribute.t).astype(np.float32)
            attribute.t.CopyFrom(numpy_helper.from_array(value, attribute.t.name))
        elif attribute.name in _TYPE_ATTRIBUTES and attribute.i in HALVES:
            attribute.i = TensorProto.FLOAT
