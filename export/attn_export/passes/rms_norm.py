"""RMSNorm divided by its root, as ONNX Runtime looks for it: with Reciprocal and Mul, as PyTorch's rsqrt is exported, it is
left as it is, seven nodes of a step that has few large ones (1.31.1). Divided, it is one SimplifiedLayerNormalization.
"""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
from attn_runtime.child_process import ChildProcess

from ..onnx_graph import GraphInfo, index, is_constant, load, shape_of, stored
from ._base import PassResult, same_opset
from ._new_nodes import NewNodes, drop_unread, ints, maker


def rewrite(model: ir.Model) -> int:
    """Let every RMSNorm with a weight divide by its root, in place; how many there were. External weights need not be there."""
    if all(node.op_type != "Reciprocal" for node in model.graph.all_nodes()):
        return 0  # before all shapes are inferred
    index(model)
    found = [(node, root) for node in model.graph.all_nodes() if (root := _root(node)) is not None]
    for node, root in found:
        x = next(value for value in node.inputs if value is not root.outputs[0])
        new = NewNodes(node)
        new.replace(new.add("Div", x, root.inputs[0]))
    if found:
        drop_unread(model)
    return len(found)


def _root(node: ir.Node) -> ir.Node | None:
    """The Reciprocal that a Mul of an RMSNorm has beside its x; None for any other node."""
    if node.op_type != "Mul" or node.domain or not _weighted(node):
        return None
    for reciprocal, x in (node.inputs, node.inputs[::-1]):
        root = maker(reciprocal, "Reciprocal")
        total = maker(_of(maker(_of(root), "Sqrt")), "Add")
        mean = next((m for value in total.inputs if (m := maker(value, "ReduceMean"))), None) if total else None
        if root is not None and total is not None and mean is not None and _squares(mean.inputs[0], x):
            epsilon = next((stored(value) for value in total.inputs if value is not mean.outputs[0]), None)
            if epsilon is not None and epsilon.size == 1 and _over_last(mean):
                return root
    return None


def _weighted(node: ir.Node) -> bool:
    """Whether all that reads the node is one Mul by a constant of one axis."""
    uses, out = node.outputs[0].uses(), node.outputs[0]
    if out.is_graph_output() or len(uses) != 1:
        return False
    (use,) = uses
    if use.node.op_type != "Mul":
        return False
    weight = use.node.inputs[1 - use.idx]
    shape = shape_of(weight)
    return is_constant(weight) and shape is not None and len(shape) == 1


def _over_last(mean: ir.Node) -> bool:
    """Whether the mean is over the last axis, which stays with size 1."""
    axes = stored(mean.inputs[1]) if len(mean.inputs) > 1 else None
    given = list(mean.attributes.get_ints("axes", ())) if axes is None else axes.reshape(-1).tolist()
    shape = shape_of(mean.inputs[0])
    return ints(mean, "keepdims", 1) == 1 and (given == [-1] or (shape is not None and given == [len(shape) - 1]))


def _squares(value: ir.Value | None, x: ir.Value | None) -> bool:
    node = maker(value, "Pow")
    if node is None or node.inputs[0] is not x:
        return False
    exponent = stored(node.inputs[1])
    return exponent is not None and exponent.size == 1 and exponent.item() == 2


def _of(node: ir.Node | None) -> ir.Value | None:
    return node.inputs[0] if node is not None else None


class RmsNorm:
    name = "rms_norm"
    summary = "let RMSNorm divide by its root, so that ONNX Runtime computes it as one operator"

    def requires(self, before: GraphInfo) -> str:
        return ""

    def run(self, source: Path, target: Path, isolated: ChildProcess) -> PassResult:
        model = load(source)
        count = rewrite(model)
        if not count:
            return PassResult(source, "there is no RMSNorm by Reciprocal", idle=True)
        ir.save(model, target)
        return PassResult(target, f"{count} norms divide by their root")

    def ensures(self, before: GraphInfo, after: GraphInfo) -> str:
        return same_opset(before, after)


PASS = RmsNorm()
