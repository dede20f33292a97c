"""Who may attend to whom: conditions, comparisons, and the numbers that stand for "not this one"."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from ...onnx_graph import dtype_of
from ._edit import (
    Add,
    Array,
    Change,
    Edit,
    attribute,
    become,
    become_input,
    constant,
    input_of,
    is_float,
    rebuild,
    set_attribute,
    set_constant,
    swap_inputs,
)

#: From here on a number stands for minus infinity, in fp16 too.
_FILL = 1e3
_COMPARISONS = {
    "Less": "LessOrEqual",
    "LessOrEqual": "Less",
    "Greater": "GreaterOrEqual",
    "GreaterOrEqual": "Greater",
    "And": "Or",
    "Or": "And",
}


def changes(node: ir.Node) -> Iterator[Change]:
    if node.op_type == "Where":
        yield Change("mask", "condition always True", become_branch(1))
        yield Change("mask", "condition always False", become_branch(2))
        yield Change("mask", "branches swapped", swap_inputs(1, 2))
    if node.op_type in _COMPARISONS:
        other = _COMPARISONS[node.op_type]
        yield Change("mask", f"{node.op_type} -> {other}", become(other))
    if node.op_type == "Not":
        yield Change("mask", "Not dropped", become_input(0))
    if node.op_type in (*_COMPARISONS, "Equal") or (node.op_type == "Cast" and dtype_of(node.outputs[0]) == "bool"):
        yield Change("mask", f"{node.op_type} inverted", rebuild(_inverted))
    if node.op_type == "Trilu":
        upper = int(attribute(node, "upper", 1))
        yield Change("mask", "the other triangle", set_attribute("upper", 1 - upper))
        shift = constant(input_of(node, 1))
        k = 0 if shift is None else int(shift.item())
        if shift is not None:
            yield Change("mask", f"diagonal {k} -> {k + 1}", set_constant(1, node.inputs[1], k + 1))
    if node.op_type == "CumSum":
        yield Change("mask", "CumSum exclusive", set_attribute("exclusive", 1 - int(attribute(node, "exclusive", 0))))
    if node.op_type == "Attention":
        yield from _attention(node)
    for position, value in enumerate(node.inputs):
        yield from _fills(node, position, value)


def become_branch(branch: int) -> Edit:
    """One branch of a Where alone, in the shape that all three have together."""

    def build(graph: ir.Graph, node: ir.Node, add: Add) -> ir.Value:
        # The branches are of one type, and may be smaller than the condition: both are kept as they are.
        anything = add("Or", node.inputs[0], add("Not", node.inputs[0]))
        never = anything if branch == 1 else add("Not", anything)
        return add("Where", never, node.inputs[1], node.inputs[2])

    return rebuild(build)


def _inverted(graph: ir.Graph, node: ir.Node, add: Add) -> ir.Value:
    same = {a.name: a.value for a in node.attributes.values()}
    return add("Not", add(node.op_type, *node.inputs, **same))


def _attention(node: ir.Node) -> Iterator[Change]:
    causal = int(attribute(node, "is_causal", 0))
    yield Change("mask", f"is_causal {causal} -> {1 - causal}", set_attribute("is_causal", 1 - causal))
    if input_of(node, 3) is not None:

        def edit(graph: ir.Graph, copy: ir.Node) -> None:
            copy.replace_input_with(3, None)

        yield Change("mask", "attention mask dropped", edit)


def _fills(node: ir.Node, position: int, value: ir.Value | None) -> Iterator[Change]:
    """A constant mask: the number that stands for minus infinity, or a table of booleans."""
    found = constant(value)
    if found is None or not found.size:
        return
    if found.dtype == np.bool_ and found.size > 1:
        yield Change(
            "mask", f"constant mask {value.name if value else ''} inverted", set_constant(position, value, ~found)
        )
    if not is_float(value):
        return
    wide = found.astype(np.float64)
    if np.any(wide <= -_FILL):
        for fill in (-1.0, -10.0, 0.0):
            changed: Array = np.where(wide <= -_FILL, fill, wide)
            yield Change("mask", f"fill {wide.min():g} -> {fill:g}", set_constant(position, value, changed))
