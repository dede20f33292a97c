"""Nodes that take another one's place in a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass


class NewNodes:
    """Makes nodes before the node `served`, which tell of its module and line; `replace` then takes it out."""

    def __init__(self, served: ir.Node) -> None:
        assert isinstance(served.graph, ir.Graph)
        self.served, self.graph = served, served.graph
        self._stem = served.name or served.outputs[0].name or served.op_type
        self._count = 0

    def add(self, operator: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """The output of a new node.

        A MatMul has the name of the node that it stands for: by that, nodes are kept in float32.
        """
        name = self._name(operator.lower())
        made = ir.Value(name=f"{name}_output")
        props = dict(self.served.metadata_props)
        if operator == "MatMul":
            name = self._stem
        self.served.prepend(ir.node(operator, inputs, attributes, outputs=[made], name=name, metadata_props=props))
        return made

    def constant(self, values: Any, dtype: ir.DataType = ir.DataType.INT64) -> ir.Value:
        name = self._name("constant")
        tensor = ir.tensor(np.asarray(values).astype(dtype.numpy()), dtype, name)
        value = ir.val(name, const_value=tensor)
        self.graph.register_initializer(value)
        return value

    def sizes(self, value: ir.Value, start: int, end: int | None = None) -> ir.Value:
        """The sizes of some axes, int64."""
        return self.add("Shape", value, start=start, **({} if end is None else {"end": end}))

    def reshape(self, value: ir.Value, *shape: int) -> ir.Value:
        return self.add("Reshape", value, self.constant(shape))

    def swap(self, value: ir.Value, rank: int, one: int, other: int) -> ir.Value:
        """The value with two axes changed for each other."""
        if one == other:
            return value
        turn = list(range(rank))
        turn[one], turn[other] = other, one
        return self.add("Transpose", value, perm=turn)

    def replace(self, value: ir.Value) -> None:
        """Let `value` be what the node gave, under its name, and take the node out."""
        old = self.served.outputs[0]
        maker, name = value.producer(), old.name
        assert maker is not None
        value.type, value.shape = old.type, old.shape
        value.meta.update(old.meta)
        old.replace_all_uses_with(value, replace_graph_outputs=True)
        self.graph.remove(self.served, safe=True)
        old.name, value.name = None, name

    def _name(self, what: str) -> str:
        self._count += 1
        return f"{self._stem}_{what}_{self._count}"


def drop_unread(model: ir.Model) -> None:
    """Take out nodes and weights that nothing reads any more."""
    RemoveUnusedNodesPass()(model)


def ints(node: ir.Node, name: str, default: int) -> int:
    """An integer attribute."""
    return node.attributes[name].as_int() if name in node.attributes else default


def text(node: ir.Node, name: str, default: str) -> str:
    """An attribute of text."""
    return node.attributes[name].as_string() if name in node.attributes else default


def maker(value: ir.Value | None, operator: str) -> ir.Node | None:
    """The node that makes the value, where it is ONNX's of this name."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == operator and not node.domain else None


DTYPES = {
    "float32": ir.DataType.FLOAT,
    "float16": ir.DataType.FLOAT16,
    "bfloat16": ir.DataType.BFLOAT16,
    "int32": ir.DataType.INT32,
    "int64": ir.DataType.INT64,
}


def known(shape: Sequence[int | str] | None) -> bool:
    """Whether every size is a number or has a name."""
    return shape is not None and "?" not in shape
