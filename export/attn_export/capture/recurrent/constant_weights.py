"""Weights of recurrent nodes that are computed from constants are computed once, here, and stored as the node reads them.

The exporter folds only what is small. A weight of 4 MB would be cut and joined in every run, and be no constant to
TensorRT.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common as passes
from onnxscript.optimizer import fold_constants

_OPERATORS = ("LSTM", "GRU", "RNN")
#: W, R and B among a node's inputs.
_WEIGHTS = slice(1, 4)


def fold_weights(model: ir.Model) -> None:
    """Change `model` in place: the weights that its recurrent nodes read become initializers, what they came from goes."""
    found: dict[ir.Node, bool] = {}
    for node in model.graph:
        if node.domain == "" and node.op_type in _OPERATORS:
            for value in node.inputs[_WEIGHTS]:
                _constant(value, found)
    if not found:
        return
    fold_constants(model, should_fold=lambda node: found.get(node, False))
    passes.RemoveUnusedNodesPass()(model)
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    # A layer that is called twice has had its weights computed twice.
    passes.DeduplicateInitializersPass(size_limit=1 << 62)(model)


def _constant(value: ir.Value | None, found: dict[ir.Node, bool]) -> bool:
    """Whether a value depends on constants alone; `found` says it of every node before it."""
    if value is None:
        return True
    node = value.producer()
    if node is None:
        return value.is_initializer() and not value.is_graph_input()
    if node not in found:
        found[node] = all([_constant(before, found) for before in node.inputs])
    return found[node]
