"""Queries, keys and values that come of one product are cut apart right behind it, before they are turned by heads.

Reshape, Transpose, then Slice is how most models write it, and how TensorRT's compiler looks for it to cut the product
itself. Where a softmax over one key was folded to ones, TensorRT-RTX 1.7.1 dies there (a check in kqv_gemm_split.cpp):
MobileViT's last stage at small pictures, simplified, with a dynamic batch. Cut first, the same product builds. So this
is the other form of a graph whose build failed, and not in any default order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir
from attn_runtime.child_process import ChildProcess

from ..onnx_graph import GraphInfo, index, load, shape_of, stored
from ._base import PassResult, same_opset
from ._new_nodes import NewNodes, drop_unread, ints


@dataclass(frozen=True)
class _Joint:
    """product [..., parts * width] -> Reshape -> Transpose, the parts first -> one `pieces` node for each reader.

    shape, perm  of Reshape and Transpose
    axis         the parts' axis in that shape
    """

    product: ir.Value
    shape: tuple[int, ...]
    perm: tuple[int, ...]
    axis: int
    pieces: tuple[ir.Node, ...]


def rewrite(model: ir.Model) -> tuple[str, ...]:
    """Cut every joint product early, in place; the names of the Reshape nodes behind them."""
    index(model)
    found = [(node, joint) for node in model.graph if (joint := _joint(node)) is not None]
    for _, joint in found:
        for piece in joint.pieces:
            _cut(joint, piece)
    if found:
        drop_unread(model)
    return tuple(node.name or node.outputs[0].name or "" for node, _ in found)


def _joint(node: ir.Node) -> _Joint | None:
    if node.op_type != "Reshape" or node.inputs[0] is None or len(node.outputs[0].uses()) != 1:
        return None
    (use,) = node.outputs[0].uses()
    target, known, turn = stored(node.inputs[1]), shape_of(node.inputs[0]), use.node
    if target is None or not known or turn.op_type != "Transpose" or "perm" not in turn.attributes:
        return None
    shape, perm = tuple(int(n) for n in target), tuple(turn.attributes["perm"].as_ints())
    axis, width = perm[0], known[-1]
    behind = shape[axis:]
    if axis == 0 or not isinstance(width, int) or min(behind) < 1 or math.prod(behind) != width:
        return None
    pieces = tuple(use.node for use in turn.outputs[0].uses())
    if turn.outputs[0].is_graph_output() or not pieces or not all(_part(p, shape[axis]) is not None for p in pieces):
        return None
    return _Joint(node.inputs[0], shape, perm, axis, pieces)


def _part(node: ir.Node, parts: int) -> int | None:
    """Which part the node takes, along axis 0."""
    numbers = [stored(value) for value in node.inputs[1:]]
    if any(n is None or n.size != 1 for n in numbers):
        return None
    given = [int(n.item()) for n in numbers if n is not None]
    if node.op_type == "Gather" and ints(node, "axis", 0) == 0:
        return given[0] % parts
    if node.op_type == "Slice" and len(given) >= 3 and given[2] == 0 and given[3:] in ([], [1]):
        start, end = (n % parts if n < 0 else min(n, parts) for n in given[:2])
        return start if end == start + 1 else None
    return None


def _cut(joint: _Joint, piece: ir.Node) -> None:
    part = _part(piece, joint.shape[joint.axis])
    assert part is not None
    width = math.prod(joint.shape[joint.axis + 1 :])
    new = NewNodes(piece)
    ends = [new.constant([n]) for n in (part * width, (part + 1) * width, -1)]
    value = new.reshape(new.add("Slice", joint.product, *ends), *_without(joint.shape, joint.axis))
    perm = [n - (n > joint.axis) for n in joint.perm[1:]]
    value = new.add("Transpose", value, perm=perm)
    indices = stored(piece.inputs[1])
    if piece.op_type == "Slice" or (indices is not None and indices.ndim):
        value = new.add("Unsqueeze", value, new.constant([0]))
    new.replace(value)


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]


class EarlySplit:
    name = "early_split"
    summary = (
        "cut queries, keys and values of one product apart before they are turned (for TensorRT, where a build fails)"
    )

    def requires(self, before: GraphInfo) -> str:
        return "" if before.opset >= 13 else f"it needs opset 13 or later, and the graph has {before.opset}"

    def run(self, source: Path, target: Path, isolated: ChildProcess) -> PassResult:
        model = load(source)
        done = rewrite(model)
        if not done:
            return PassResult(source, "there is no joint product")
        ir.save(model, target)
        return PassResult(target, f"cut {', '.join(done)}")

    def ensures(self, before: GraphInfo, after: GraphInfo) -> str:
        return same_opset(before, after)


PASS = EarlySplit()
