"""Signs and operators: a sum that is a difference, a residual that is gone, a mean that is a maximum, a rounding."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from ...onnx_graph import dtype_of, is_constant
from ._edit import (
    Add,
    Change,
    Edit,
    attribute,
    become,
    become_input,
    before_input,
    input_of,
    is_float,
    rebuild,
    swap_inputs,
)

_OTHER = {"Max": "Min", "Min": "Max", "ReduceMax": "ReduceMin", "ReduceMin": "ReduceMax", "Div": "Mul"}
_REDUCES = {"ReduceMean": ("ReduceSum", "ReduceMax"), "ReduceSum": ("ReduceMean",)}
_ROUNDINGS = {"Floor": "Ceil", "Ceil": "Floor", "Round": "Floor"}
#: Where a tensor in fewer bits than the graph's is what somebody may have left there. In a graph of half precision it would
#: be rounding like its own.
_ROUNDED = ("MatMul", "Gemm", "Conv", "Softmax", "LayerNormalization", "Gelu", "Relu", "Add", "Mul")


def changes(node: ir.Node) -> Iterator[Change]:
    flowing = [v for v in node.inputs if v is not None and not is_constant(v)]
    if node.op_type == "Add" and is_float(input_of(node, 0)):
        yield Change("sign", "Add -> Sub", become("Sub"))
        if len(flowing) == 2:
            yield Change("residual", "first summand dropped", _without(0))
            yield Change("residual", "second summand dropped", _without(1))
    if node.op_type == "Sub" and is_float(input_of(node, 0)):
        yield Change("sign", "Sub the other way round", swap_inputs(0, 1))
        yield Change("sign", "Sub -> Add", become("Add"))
    if node.op_type == "Neg":
        yield Change("sign", "Neg dropped", become_input(0))
    if node.op_type == "Mul" and len(flowing) == 2 and is_float(input_of(node, 0)):
        yield Change("operator", "Mul -> Add", become("Add"))
    if node.op_type in _OTHER and is_float(input_of(node, 0)):
        other = _OTHER[node.op_type]
        yield Change("operator", f"{node.op_type} -> {other}", _kept(node, other))
    for other in _REDUCES.get(node.op_type, ()):
        yield Change("operator", f"{node.op_type} -> {other}", _kept(node, other))
    if node.op_type in ("Sqrt", "Exp", "Log", "Abs", "Reciprocal"):
        yield Change("operator", f"{node.op_type} dropped", become_input(0))
    if node.op_type in ("AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool"):
        yield from _pool(node)
    if node.op_type in _ROUNDINGS:
        other = _ROUNDINGS[node.op_type]
        yield Change("rounding", f"{node.op_type} -> {other}", become(other))
    if node.op_type == "Cast" and not is_float(node.outputs[0]) and is_float(input_of(node, 0)):
        yield Change("rounding", "rounded before it is cast to whole numbers", before_input(0, _ceiled))
    if node.op_type in _ROUNDED and dtype_of(node.outputs[0]) == "float32" and flowing:
        yield Change("rounding", "its result rounded to float16", _rounded(node))


def _without(position: int) -> Edit:
    """A sum without one of its parts, in the shape that both have together."""

    def build(graph: ir.Graph, node: ir.Node, add: Add) -> ir.Value:
        gone = node.inputs[position]
        nothing = add("Sub", gone, gone)
        parts = [nothing, node.inputs[1]] if position == 0 else [node.inputs[0], nothing]
        return add("Add", *parts)

    return rebuild(build)


def _kept(original: ir.Node, op_type: str) -> Edit:
    return become(op_type, **{a.name: a.value for a in original.attributes.values()})


def _pool(node: ir.Node) -> Iterator[Change]:
    other = (
        node.op_type.replace("Average", "Max") if "Average" in node.op_type else node.op_type.replace("Max", "Average")
    )
    common = {"kernel_shape", "strides", "pads", "auto_pad", "ceil_mode", "dilations"}
    same = {a.name: attribute(node, a.name) for a in node.attributes.values() if a.name in common}
    yield Change("operator", f"{node.op_type} -> {other}", become(other, **same))


def _ceiled(graph: ir.Graph, value: ir.Value, add: Add) -> ir.Value:
    return add("Ceil", value)


def _rounded(original: ir.Node) -> Edit:
    same = {a.name: a for a in original.attributes.values()}

    def build(graph: ir.Graph, node: ir.Node, add: Add) -> ir.Value:
        exact = add(node.op_type, *node.inputs, **{n: attribute(node, n) for n in same})
        half = add("Cast", exact, to=int(ir.DataType.FLOAT16))
        return add("Cast", half, to=int(ir.DataType.FLOAT))

    return rebuild(build)
