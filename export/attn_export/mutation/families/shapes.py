"""Which axis, and in which order the axes are."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import onnx_ir as ir

from ...onnx_graph import shape_of
from ._edit import Change, attribute, constant, input_of, set_attribute, set_constant

#: Where an operator has its axis as an attribute, and what it is when it is left out.
_AXIS = {
    "Softmax": -1, "LogSoftmax": -1, "Hardmax": -1, "LayerNormalization": -1, "RMSNormalization": -1, "Concat": None,
    "Gather": 0, "GatherElements": 0, "ArgMax": 0, "ArgMin": 0, "Split": 0, "Flatten": 1, "TopK": -1,
}  # fmt: skip
#: Where the axes are an input.
_AXES_INPUT = {
    "ReduceMean": 1, "ReduceSum": 1, "ReduceMax": 1, "ReduceMin": 1, "ReduceL2": 1, "ReduceProd": 1, "CumSum": 1,
    "Unsqueeze": 1,
}  # fmt: skip


def changes(node: ir.Node) -> Iterator[Change]:
    rank = len(shape_of(node.inputs[0]) or ()) if node.inputs else 0
    if node.op_type in _AXIS and rank > 1:
        axis = attribute(node, "axis", _AXIS[node.op_type])
        if axis is not None:
            for other in (axis - 1, axis + 1):
                if -rank <= other < rank and (other < 0) == (axis < 0):
                    yield Change("axis", f"axis {axis} -> {other}", set_attribute("axis", other))
    if node.op_type in _AXES_INPUT and rank > 1:
        position = _AXES_INPUT[node.op_type]
        value = input_of(node, position)
        axes = constant(value)
        if axes is not None and axes.size:
            for step in (1, -1):
                after = axes + step
                if np.all((after >= -rank) & (after < rank)) and np.all((after < 0) == (axes < 0)):
                    what = f"axes {axes.ravel().tolist()} -> {after.ravel().tolist()}"
                    yield Change("axis", what, set_constant(position, value, after))
    if node.op_type == "Transpose":
        yield from _transposition(node)
    if node.op_type == "Reshape":
        yield from _reshape(node)
    if node.op_type == "Gemm":
        yield from _gemm(node)


def _transposition(node: ir.Node) -> Iterator[Change]:
    """Two axes of the result the other way round: those of equal size always fit what reads them, others sometimes do."""
    shape = shape_of(node.inputs[0])
    perm = attribute(node, "perm", list(reversed(range(len(shape or ())))))
    for first, second in combinations(range(len(perm)), 2):
        after = list(perm)
        after[first], after[second] = after[second], after[first]
        yield Change("transposition", f"perm {perm} -> {after}", set_attribute("perm", after))


def _reshape(node: ir.Node) -> Iterator[Change]:
    """Elements are split into other axes: [.., heads, size] as [.., size, heads]."""
    value = input_of(node, 1)
    sizes = constant(value)
    if sizes is None:
        return
    for first in range(len(sizes) - 1):
        if sizes[first] != sizes[first + 1]:
            after = sizes.copy()
            after[[first, first + 1]] = sizes[[first + 1, first]]
            what = f"reshape to {sizes.tolist()} -> {after.tolist()}"
            yield Change("transposition", what, set_constant(1, value, after))


def _gemm(node: ir.Node) -> Iterator[Change]:
    shape = shape_of(input_of(node, 1))
    if shape is not None and len(shape) == 2 and shape[0] == shape[1]:
        before = int(attribute(node, "transB", 0))
        yield Change("transposition", f"transB {before} -> {1 - before}", set_attribute("transB", 1 - before))
