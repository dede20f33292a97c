"""Weights of recurrent nodes, where they come from constants, are computed here, once, and stored as a node reads them.

The exporter folds only what is small. A weight of 4 MB would be cut and joined in every run, and be no constant to
TensorRT.
"""

from __future__ import annotations

import sys
from collections import Counter
from hashlib import sha256

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass
from onnxscript.optimizer import fold_constants

_OPERATORS = ("LSTM", "GRU", "RNN")
#: W, R and B among a node's inputs.
_WEIGHTS = slice(1, 4)


def fold_weights(model: ir.Model) -> Counter[str]:
    """Change `model` in place: weights of recurrent nodes become initializers, and what they were computed from goes.

    Returns how many nodes of each operator there are.
    """
    nodes = [n for n in model.graph if n.domain == "" and n.op_type in _OPERATORS]
    count = Counter(node.op_type for node in nodes)
    found: dict[ir.Node, bool] = {}
    for node in nodes:
        for value in node.inputs[_WEIGHTS]:
            _constant(value, found)
    if any(found.values()):
        fold_constants(model, should_fold=lambda node: found.get(node, False), output_size_limit=sys.maxsize)
    _share(nodes)
    RemoveUnusedNodesPass()(model)
    return count


def _share(nodes: list[ir.Node]) -> None:
    """Let layers that hold the same weights, as one that is called twice does, read the same initializers."""
    first: dict[tuple[object, ...], ir.Value] = {}
    for node in nodes:
        for at, value in [*enumerate(node.inputs)][_WEIGHTS]:
            if value is not None and value.is_initializer() and value.const_value is not None:
                tensor = value.const_value
                key = (tensor.dtype, tuple(tensor.shape), sha256(tensor.tobytes()).digest())
                node.replace_input_with(at, first.setdefault(key, value))


def _constant(value: ir.Value | None, found: dict[ir.Node, bool]) -> bool:
    """Whether a value depends on constants alone; `found` says it of every node before it."""
    if value is None:
        return True
    node = value.producer()
    if node is None:
        return value.is_initializer() and not value.is_graph_input()
    if node not in found:
        befores = [_constant(before, found) for before in node.inputs]
        found[node] = all(befores)
    return found[node]
