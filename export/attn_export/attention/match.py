"""Finds softmax(Q Kt) V in a graph, in whatever operators it was written.

From each softmax upwards to the matmul that made the scores and downwards to the one that takes the weights. What tells
attention from a classifier between two linear layers: a linear layer multiplies by a weight from the right, attention
multiplies by keys and values that were computed. Soft codebooks and the routing of experts are linear layers so far.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from ..onnx_graph.graph_index import GraphView, Size

#: How many nodes may lie between the softmax and a matmul.
_REACH = 12
_KEEPS_SHAPE = {"Cast", "Identity", "Dropout", "Clip", "Tanh", "Neg"}
_TWO_SIDED = {"Mul", "Div", "Add", "Sub", "Max", "Min"}
_KEEPS_LAST_AXES = {"Reshape", "Unsqueeze", "Squeeze", "Slice", "Concat", "Expand"}


@dataclass(frozen=True)
class Product:
    """A matrix product, and which of its two inputs is the one that matters (keys, or values): 0 or 1."""

    node: onnx.NodeProto
    side: int

    @property
    def other(self) -> int:
        return 1 - self.side


@dataclass(frozen=True)
class Match:
    """One block. `above` leads from the scores to the softmax, `below` from the softmax to the values; both without ends.

    `scores.side` is the input with the keys, `values.side` the one with the values.
    """

    view: GraphView
    scores: Product
    above: tuple[onnx.NodeProto, ...]
    softmax: onnx.NodeProto
    below: tuple[onnx.NodeProto, ...]
    values: Product

    @property
    def nodes(self) -> tuple[onnx.NodeProto, ...]:
        return (self.scores.node, *self.above, self.softmax, *self.below, self.values.node)

    @property
    def queries(self) -> str:
        return str(self.scores.node.input[self.scores.other])

    @property
    def keys(self) -> str:
        return str(self.scores.node.input[self.scores.side])

    @property
    def value(self) -> str:
        return str(self.values.node.input[self.values.side])


def matches(view: GraphView) -> list[Match]:
    """Every block that is written out in this graph, in the order of its softmaxes."""
    found = []
    for softmax in view.nodes:
        if softmax.op_type != "Softmax" or softmax.domain not in ("", "ai.onnx"):
            continue
        last = _on_last_axis(view, softmax)
        if last is None:
            continue
        scores = _upwards(view, softmax, last)
        values = _downwards(view, softmax, last)
        if scores is not None and values is not None:
            found.append(Match(view, scores[0], scores[1], softmax, values[1], values[0]))
    return found


def product_sizes(view: GraphView, node: onnx.NodeProto, side: int) -> tuple[Size, Size]:
    """(size of the axis that the product keeps, size of the one it sums over) of one input of a matrix product."""
    shape = view.shape(node.input[side])
    if shape is None:
        return "?", "?"
    if node.op_type == "Einsum":
        terms, result = _terms(node)
        kept = [i for i, c in enumerate(terms[side]) if c in result and c not in terms[1 - side]]
        summed = [i for i, c in enumerate(terms[side]) if c not in result and c in terms[1 - side]]
        return (shape[kept[0]] if len(kept) == 1 else "?"), (shape[summed[0]] if len(summed) == 1 else "?")
    if len(shape) < 2:
        return "?", "?"
    if (side == 0) != _transposed(node, side):
        return shape[-2], shape[-1]
    return shape[-1], shape[-2]


def attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    """An integer attribute."""
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def _on_last_axis(view: GraphView, softmax: onnx.NodeProto) -> bool | None:
    """True for a softmax over the last axis, False over the one before it, None over any other."""
    shape = view.shape(softmax.input[0])
    axis = attribute(softmax, "axis", -1)
    if axis >= 0 and shape is not None:
        axis -= len(shape)
    return {-1: True, -2: False}.get(axis, True if axis >= 0 else None)


def _upwards(view: GraphView, softmax: onnx.NodeProto, last: bool) -> tuple[Product, tuple[onnx.NodeProto, ...]] | None:
    """The nearest product above that scores queries against keys. `last`: the keys lie on the last axis."""
    todo: deque[tuple[str, bool, tuple[onnx.NodeProto, ...]]] = deque([(softmax.input[0], last, ())])
    while todo:
        name, last, path = todo.popleft()
        node = view.producer.get(name)
        if node is None or len(path) > _REACH:
            continue
        if _is_product(node):
            side = _keys_side(node, last)
            if side is not None and _computed(view, node, side):
                return Product(node, side), path
            continue
        for followed in _followed_up(view, node):
            turned = _turned(view, node, followed)
            if turned is not None:
                todo.append((followed, last != turned, (node, *path)))
    return None


def _downwards(
    view: GraphView, softmax: onnx.NodeProto, last: bool
) -> tuple[Product, tuple[onnx.NodeProto, ...]] | None:
    """The nearest product below that sums values by their weights."""
    todo: deque[tuple[str, bool, tuple[onnx.NodeProto, ...]]] = deque([(softmax.output[0], last, ())])
    while todo:
        name, last, path = todo.popleft()
        if len(path) > _REACH:
            continue
        for node in view.consumers.get(name, []):
            if _is_product(node):
                side = _values_side(node, name, last)
                if side is not None and _computed(view, node, side):
                    return Product(node, side), path
            elif name in _data_inputs(node):
                turned = _turned(view, node, name)
                if turned is not None:
                    todo.append((node.output[0], last != turned, (*path, node)))
    return None


def _is_product(node: onnx.NodeProto) -> bool:
    return node.op_type in ("MatMul", "Gemm", "FusedMatMul") or (node.op_type == "Einsum" and len(node.input) == 2)


def _computed(view: GraphView, node: onnx.NodeProto, side: int) -> bool:
    """Whether the keys (or values) were computed, and the product is no linear layer."""
    right = view.is_constant(node.input[1])
    return not right and not view.is_constant(node.input[side]) and node.input[0] != node.input[1]


def _keys_side(node: onnx.NodeProto, last: bool) -> int | None:
    """The input that brings the axis that the softmax runs over."""
    if node.op_type != "Einsum":
        return 1 if last else 0
    terms, result = _terms(node)
    if len(result) < 2:
        return None
    key = result[-1 if last else -2]
    holders = [i for i, term in enumerate(terms) if key in term]
    return holders[0] if len(holders) == 1 else None


def _values_side(node: onnx.NodeProto, weights: str, last: bool) -> int | None:
    """The input beside the weights, when the product sums over the axis that the softmax ran over."""
    side = list(node.input).index(weights)
    if side > 1:  # the third input of a Gemm
        return None
    if node.op_type != "Einsum":
        sums_last = (side == 0) != _transposed(node, side)
        return 1 - side if sums_last == last else None
    terms, result = _terms(node)
    if len(terms[side]) < 2:
        return None
    key = terms[side][-1 if last else -2]
    return 1 - side if key not in result and key in terms[1 - side] else None


def _transposed(node: onnx.NodeProto, side: int) -> bool:
    return attribute(node, ("transA", "transB")[side], 0) == 1


def _followed_up(view: GraphView, node: onnx.NodeProto) -> list[str]:
    return [n for n in _data_inputs(node) if not view.is_constant(n)]


def _data_inputs(node: onnx.NodeProto) -> Sequence[str]:
    """The inputs whose values go on through this node, as far as scores or weights may."""
    if node.op_type in _TWO_SIDED or node.op_type == "Concat":
        return list(node.input)
    if node.op_type == "Where":
        return list(node.input[1:])
    if node.op_type in _KEEPS_SHAPE or node.op_type in _KEEPS_LAST_AXES or node.op_type == "Transpose":
        return list(node.input[:1])
    return []


def _turned(view: GraphView, node: onnx.NodeProto, name: str) -> bool | None:
    """Whether the node swaps the last two axes; None when it loses them."""
    if node.op_type == "Transpose":
        perm = next((list(a.ints) for a in node.attribute if a.name == "perm"), [])
        rank = len(perm)
        return {(rank - 2, rank - 1): False, (rank - 1, rank - 2): True}.get(tuple(perm[-2:]))
    if node.op_type in _KEEPS_LAST_AXES - {"Slice", "Concat"}:
        old, new = view.shape(name), view.shape(node.output[0])
        if old is not None and new is not None:
            pairs = zip(old[-2:], new[-2:], strict=False)
            if any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs):
                return None
    return False


def _terms(node: onnx.NodeProto) -> tuple[list[str], str]:
    """The letters of the inputs and of the result. A "..." stands for axes in front, of which nothing is asked."""
    text = next((a.s.decode() for a in node.attribute if a.name == "equation"), "")
    text = text.replace(" ", "")
    left, arrow, result = text.partition("->")
    terms = left.split(",")
    if not arrow:
        letters = left.replace(",", "")
        result = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    return terms, result
