"""Finds softmax(Q Kt) V in a graph, in whatever operators it was written.

From each softmax upwards to the matmul that made the scores and downwards to the one that takes the weights. What tells
attention from a classifier between two linear layers: a linear layer multiplies by a weight from the right, attention
multiplies by keys and values that were computed. Soft codebooks and the routing of experts are linear layers so far.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from ..onnx_graph import Size, is_constant, shape_of

#: How many nodes may lie between the softmax and a matmul.
_REACH = 12
_KEEPS_SHAPE = {"Cast", "Identity", "Dropout", "Clip", "Tanh", "Neg"}
_TWO_SIDED = {"Mul", "Div", "Add", "Sub", "Max", "Min"}
_KEEPS_LAST_AXES = {"Reshape", "Unsqueeze", "Squeeze", "Slice", "Concat", "Expand"}


@dataclass(frozen=True)
class Product:
    """A matrix product, and which of its two inputs is the one that matters (keys, or values): 0 or 1."""

    node: ir.Node
    side: int

    @property
    def other(self) -> int:
        return 1 - self.side

    @property
    def inputs(self) -> tuple[ir.Value, ir.Value]:
        left, right = self.node.inputs[:2]
        assert left is not None and right is not None  # a product has both
        return left, right

    def sizes(self, side: int) -> tuple[Size, Size]:
        """(size of the axis that the product keeps, size of the one it sums over) of one of its inputs."""
        shape = shape_of(self.inputs[side])
        if shape is None:
            return "?", "?"
        if self.node.op_type == "Einsum":
            terms, result = _terms(self.node)
            # Counted from the last axis: a "..." stands in front, for any number of them.
            axes = [(i - len(terms[side]), c) for i, c in enumerate(terms[side]) if c != "."]
            kept = [i for i, c in axes if c in result and c not in terms[1 - side]]
            summed = [i for i, c in axes if c not in result and c in terms[1 - side]]
            return (shape[kept[0]] if len(kept) == 1 else "?"), (shape[summed[0]] if len(summed) == 1 else "?")
        if len(shape) < 2:
            return "?", "?"
        if (side == 0) != _transposed(self.node, side):
            return shape[-2], shape[-1]
        return shape[-1], shape[-2]


@dataclass(frozen=True)
class Match:
    """One block. `above` leads from the scores to the softmax, `below` from the softmax to the values; both without ends.

    `scores.side` is the input with the keys, `values.side` the one with the values. `in_body`: of an If or Loop.
    """

    scores: Product
    above: tuple[ir.Node, ...]
    softmax: ir.Node
    below: tuple[ir.Node, ...]
    values: Product
    in_body: bool

    @property
    def nodes(self) -> tuple[ir.Node, ...]:
        return (self.scores.node, *self.above, self.softmax, *self.below, self.values.node)

    @property
    def queries(self) -> ir.Value:
        return self.scores.inputs[self.scores.other]

    @property
    def keys(self) -> ir.Value:
        return self.scores.inputs[self.scores.side]

    @property
    def value(self) -> ir.Value:
        return self.values.inputs[self.values.side]


_Reached = tuple[Product, tuple[ir.Node, ...]]
#: A value on the way to a product, whether the keys lie on its last axis, and the nodes up to there.
_Way = tuple[ir.Value | None, bool, tuple[ir.Node, ...]]


def matches(model: ir.Model) -> Iterator[Match]:
    """Every block that is written out in an indexed model, in the order of its softmaxes, those of bodies last.

    All nodes of one are of one graph: scores from outside the body of an If or Loop do not count.
    """
    for graph in model.graphs():
        for softmax in graph:
            if softmax.op_type != "Softmax" or softmax.domain:
                continue
            last = _on_last_axis(softmax)
            if last is None:
                continue
            scores = _upwards(softmax, last)
            values = _downwards(softmax, last)
            if scores is not None and values is not None:
                in_body = graph is not model.graph
                yield Match(scores[0], scores[1], softmax, values[1], values[0], in_body)


def _on_last_axis(softmax: ir.Node) -> bool | None:
    """True for a softmax over the last axis, False over the one before it, None over any other."""
    shape = shape_of(softmax.inputs[0])
    axis = softmax.attributes.get_int("axis", -1)
    if axis >= 0 and shape is not None:
        axis -= len(shape)
    return {-1: True, -2: False}.get(axis, True if axis >= 0 else None)


def _upwards(softmax: ir.Node, last: bool) -> _Reached | None:
    """The nearest product above that scores queries against keys. `last`: the keys lie on the last axis."""
    todo: deque[_Way] = deque([(softmax.inputs[0], last, ())])
    while todo:
        value, last, path = todo.popleft()
        node = value.producer() if value is not None else None
        if node is None or node.graph is not softmax.graph or len(path) > _REACH:
            continue
        if _is_product(node):
            side = _keys_side(node, last)
            if side is not None and _computed(node, side):
                return Product(node, side), path
            continue
        for followed in _data_inputs(node):
            turned = _turned(node, followed)
            if turned is not None and not is_constant(followed):
                todo.append((followed, last != turned, (node, *path)))
    return None


def _downwards(softmax: ir.Node, last: bool) -> _Reached | None:
    """The nearest product below that sums values by their weights."""
    todo: deque[_Way] = deque([(softmax.outputs[0], last, ())])
    while todo:
        value, last, path = todo.popleft()
        if value is None or len(path) > _REACH:
            continue
        for node, place in value.uses():
            if node.graph is not softmax.graph:
                continue
            if _is_product(node):
                side = _values_side(node, place, last)
                if side is not None and _computed(node, side):
                    return Product(node, side), path
            elif value in _data_inputs(node):
                turned = _turned(node, value)
                if turned is not None:
                    todo.append((node.outputs[0], last != turned, (*path, node)))
    return None


def _is_product(node: ir.Node) -> bool:
    return node.op_type in ("MatMul", "Gemm", "FusedMatMul") or (node.op_type == "Einsum" and len(node.inputs) == 2)


def _computed(node: ir.Node, side: int) -> bool:
    """Whether the keys (or values) were computed, and the product is no linear layer."""
    right = is_constant(node.inputs[1])
    return not right and not is_constant(node.inputs[side]) and node.inputs[0] is not node.inputs[1]


def _keys_side(node: ir.Node, last: bool) -> int | None:
    """The input that brings the axis that the softmax runs over."""
    if node.op_type != "Einsum":
        return 1 if last else 0
    terms, result = _terms(node)
    if len(result) < 2:
        return None
    key = result[-1 if last else -2]
    holders = [i for i, term in enumerate(terms) if key in term]
    return holders[0] if len(holders) == 1 else None


def _values_side(node: ir.Node, side: int, last: bool) -> int | None:
    """The input beside the weights, which are input `side`, when the product sums over the axis of the softmax."""
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


def _transposed(node: ir.Node, side: int) -> bool:
    return node.attributes.get_int(("transA", "transB")[side], 0) == 1


def _data_inputs(node: ir.Node) -> Sequence[ir.Value | None]:
    """The inputs whose values go on through this node, as far as scores or weights may."""
    if node.op_type in _TWO_SIDED or node.op_type == "Concat":
        return node.inputs
    if node.op_type == "Where":
        return node.inputs[1:]
    if node.op_type in _KEEPS_SHAPE or node.op_type in _KEEPS_LAST_AXES or node.op_type == "Transpose":
        return node.inputs[:1]
    return []


def _turned(node: ir.Node, value: ir.Value | None) -> bool | None:
    """Whether the node swaps the last two axes; None when it loses them."""
    if node.op_type == "Transpose":
        perm = tuple(node.attributes.get_ints("perm", ()))
        rank = len(perm)
        return False if perm[-2:] == (rank - 2, rank - 1) else True if perm[-2:] == (rank - 1, rank - 2) else None
    if node.op_type in _KEEPS_LAST_AXES - {"Slice", "Concat"}:
        old, new = shape_of(value), shape_of(node.outputs[0])
        if old is not None and new is not None:
            pairs = zip(old[-2:], new[-2:], strict=False)
            if any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs):
                return None
    return False


def _terms(node: ir.Node) -> tuple[list[str], str]:
    """The letters of the inputs and of the result. A "..." stands for axes in front, of which nothing is asked."""
    text = node.attributes.get_string("equation", "").replace(" ", "")
    left, arrow, result = text.partition("->")
    terms = left.split(",")
    if not arrow:
        letters = left.replace(",", "")
        result = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    return terms, result
