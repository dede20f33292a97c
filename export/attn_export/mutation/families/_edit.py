"""What a change is, and the few edits that all of them are made of.

A change is found on the original graph, whose facts are known, and made on a copy: an edit gets the copy and the node that
stands there in the same place. Weights are shared between the two, so an edit replaces a tensor and never writes into one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from ...onnx_graph import dtype_of, stored

Array = np.ndarray[Any, Any]
Edit = Callable[[ir.Graph, ir.Node], None]


class Unchanged(Exception):
    """An edit that would leave the graph as it is: a tensor of zeros negated, equal rows swapped."""


@dataclass(frozen=True)
class Change:
    """One way to change a node.

    family   the kind, by which scores are told apart: "weight", "mask"
    what     the change in a few words, "axis -1 -> -2"
    edit     makes it on a copy of the graph; raises Unchanged where there is nothing to change
    place    what is changed where that is not the node but a weight, which several nodes may read: its name
    """

    family: str
    what: str
    edit: Edit
    place: str = ""


def input_of(node: ir.Node, position: int) -> ir.Value | None:
    """The input at `position`, None where it is left out."""
    return node.inputs[position] if position < len(node.inputs) else None


def constant(value: ir.Value | None) -> Array | None:
    """What a small constant holds, through the casts that a typed graph puts behind it; None for anything else."""
    while value is not None and (maker := value.producer()) is not None and maker.op_type in ("Cast", "Identity"):
        value = maker.inputs[0]
    return stored(value)


def number(value: ir.Value | None) -> float | None:
    """The one number that a floating-point constant holds."""
    found = constant(value)
    if found is None or found.size != 1 or not is_float(value):
        return None
    return float(found.astype(np.float64).item())


def is_float(value: ir.Value | None) -> bool:
    return dtype_of(value) in ("float16", "bfloat16", "float32", "float64")


def attribute(node: ir.Node, name: str, default: Any = None) -> Any:
    """What an attribute holds: a number, a text, a list of numbers."""
    found = node.attributes.get(name)
    if found is None:
        return default
    value = found.value
    return list(value) if isinstance(value, tuple | list) else value


def set_attribute(name: str, value: Any) -> Edit:
    def edit(graph: ir.Graph, node: ir.Node) -> None:
        node.attributes[name] = ir.convenience.convert_attribute(name, value)

    return edit


def set_constant(position: int, like: ir.Value | None, content: Any) -> Edit:
    """Another constant as one input of the node, of the type that `like`, the original's, has; other readers keep theirs."""
    kind, before = dtype_of(like), constant(like)
    after = np.asarray(content)
    if before is not None and before.size == after.size:
        after = after.reshape(before.shape)

    def edit(graph: ir.Graph, node: ir.Node) -> None:
        node.replace_input_with(position, new_constant(graph, after, kind))

    return edit


def new_constant(graph: ir.Graph, content: Any, kind: str) -> ir.Value:
    """A constant of the numpy type called `kind`, or bfloat16, added to the graph."""
    dtype = {"bfloat16": ir.DataType.BFLOAT16}.get(kind) or ir.DataType.from_numpy(np.dtype(kind))
    name = f"//mutant/{len(graph.initializers)}"
    tensor = ir.Tensor(np.asarray(content).astype(dtype.numpy()), dtype=dtype, name=name)
    value = ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(dtype), const_value=tensor)
    graph.initializers[name] = value
    return value


def replace_input(position: int, other: Callable[[ir.Node], ir.Value | None]) -> Edit:
    def edit(graph: ir.Graph, node: ir.Node) -> None:
        node.replace_input_with(position, other(node))

    return edit


def swap_inputs(first: int, second: int) -> Edit:
    def edit(graph: ir.Graph, node: ir.Node) -> None:
        a, b = node.inputs[first], node.inputs[second]
        node.replace_input_with(first, b)
        node.replace_input_with(second, a)

    return edit


#: Makes a node of an operator, inputs and attributes, and gives its output.
Add = Callable[..., ir.Value]
#: Builds what stands for a node, of the graph, the node and what adds nodes.
Builder = Callable[[ir.Graph, ir.Node, Add], ir.Value]


def rebuild(build: Builder) -> Edit:
    """Put what `build` makes in the place of the node's first output; the node itself goes."""

    def edit(graph: ir.Graph, node: ir.Node) -> None:
        made: list[ir.Node] = []
        add = _adder(node, made, "instead")
        result = build(graph, node, add)
        if not made or result is not made[-1].outputs[0]:
            result = add("Identity", result)
        result.type = node.outputs[0].type
        ir.convenience.replace_nodes_and_values(graph, node, [node], made, [node.outputs[0]], [result])

    return edit


def _adder(node: ir.Node, made: list[ir.Node], where: str) -> Add:
    """Makes nodes with names of their own, from the module that `node` is from."""

    def add(op_type: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        new = ir.node(op_type, list(inputs), attributes, name=f"{node.name}//mutant/{where}/{len(made)}")
        new.metadata_props.update(node.metadata_props)
        made.append(new)
        return new.outputs[0]

    return add


def become(op_type: str, **attributes: Any) -> Edit:
    """The same inputs and another operator."""
    return rebuild(lambda graph, node, add: add(op_type, *node.inputs, **attributes))


def become_input(position: int) -> Edit:
    """The node hands on one of its inputs as it is."""
    return rebuild(lambda graph, node, add: add("Identity", node.inputs[position]))


def before_input(position: int, build: Callable[[ir.Graph, ir.Value, Add], ir.Value]) -> Edit:
    """Put what `build` makes of one input in its place, for this node alone."""

    def edit(graph: ir.Graph, node: ir.Node) -> None:
        made: list[ir.Node] = []
        value = node.inputs[position]
        assert value is not None
        result = build(graph, value, _adder(node, made, str(position)))
        result.type = value.type
        graph.insert_before(node, made)
        node.replace_input_with(position, result)

    return edit
