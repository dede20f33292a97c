"""Angles of positions: what a whole number is multiplied by before its sine is taken.

Rotary places (Su et al., "RoFormer", 2021, section 3.2.2) turn by position x frequency. In half precision a position of 100 is
known to 1/16, one of 4096 to 4: the angle is lost long before the sine is. transformers computes it in float32 whatever the
model's type is, and so does every typed graph.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx import TensorProto

from ..typed import MOVES, tensor_types

_INTEGERS = frozenset({
    TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64, TensorProto.UINT8, TensorProto.UINT16,
    TensorProto.UINT32, TensorProto.UINT64,
})  # fmt: skip
#: Element by element, or a product of a column and a row.
_SCALES = frozenset({"Add", "Cast", "Div", "Einsum", "MatMul", "Mul", "Neg", "Sub", "Sum"}) | MOVES
_TURNS = ("Sin", "Cos")


def of_positions(model: onnx.ModelProto) -> set[str]:
    """The names of nodes of the main graph whose results are angles of positions or lead to them, and of their sines."""
    types = tensor_types(model)
    vectors = _vectors(model.graph)
    made = {name: node for node in model.graph.node for name in node.output if name}
    angles: set[str] = set()  # values, float
    for node in model.graph.node:
        if node.op_type not in _SCALES or not node.output or types.element(node.output[0]) != TensorProto.FLOAT:
            continue
        if node.op_type == "Cast":
            counted = types.element(node.input[0]) in _INTEGERS or node.input[0] in angles
        else:
            floats = [name for name in node.input if name and types.element(name) == TensorProto.FLOAT]
            counted = any(name in angles for name in floats) and all(
                name in angles or name in vectors for name in floats
            )
        if counted:
            angles.add(node.output[0])
    found: set[str] = set()
    waiting = [n for n in model.graph.node if n.op_type in _TURNS and n.input[0] in angles]
    while waiting:
        node = waiting.pop()
        if node.name not in found:
            found.add(node.name)
            waiting.extend(made[name] for name in node.input if name in angles)
    return found


def _vectors(graph: onnx.GraphProto) -> set[str]:
    """Values that are constants of one axis, wherever that lies: frequencies, and never a layer's weights."""
    found = {tensor.name for tensor in graph.initializer if _one_axis(tensor.dims)}
    for node in graph.node:
        if node.op_type == "Constant":
            if all(_one_axis(a.t.dims) for a in node.attribute if a.name == "value"):
                found.add(node.output[0])
        elif node.op_type in MOVES | {"Cast", "Reciprocal", "Neg"} and node.input and node.input[0] in found:
            found.add(node.output[0])
    return found


def _one_axis(dims: Iterable[int]) -> bool:
    return sum(size > 1 for size in dims) <= 1
