"""Rotary places in fewer nodes: x turned by an angle is x cos + (-x2, x1) sin, of its halves x1 and x2.

transformers negates a half of the queries and of the keys of every layer. The sine is the same for all of them: here half of it
is negated, once, and the halves only change places. And in the step of a generator, whose sequences have length 1, a node costs
more than what it computes: queries and keys of a layer are turned together.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
from attn_runtime.child_process import ChildProcess

from ..onnx_graph import GraphInfo, dtype_of, index, load, shape_of, stored
from ._base import PassResult, same_opset
from ._new_nodes import DTYPES, NewNodes, drop_unread, ints, maker


@dataclass(frozen=True)
class _Turn:
    """x [..., size] cosine + (-x2, x1) sine -> `total`.

    straight  the Mul of x, which is input `place` of it, and the cosine
    across    the Mul of the halves, which have changed places, and the sine
    """

    size: int
    cosine: ir.Value
    sine: ir.Value
    straight: ir.Node
    place: int
    across: ir.Node
    total: ir.Node

    @property
    def x(self) -> ir.Value:
        """What is turned: of the graph as it is now, since it may be what another turn gave."""
        value = self.straight.inputs[self.place]
        assert value is not None
        return value


def rewrite(model: ir.Model) -> tuple[int, int]:
    """Rewrite, in place: how many tensors are turned without a Neg, and how many pairs of them together.

    The answers stay to the bit. External weights need not be there.
    """
    if all(node.op_type != "Neg" for node in model.graph):
        return 0, 0  # before all shapes are inferred
    index(model)
    found = [turn for node in model.graph if (turn := _turn(node)) is not None]
    shared = Counter(turn.sine for turn in found)
    found = [turn for turn in found if shared[turn.sine] > 1]  # else one node is but another
    signed: dict[ir.Value, ir.Value] = {}
    for turn in found:
        if turn.sine not in signed:
            new = NewNodes(turn.across)
            signs = new.constant(np.repeat([-1, 1], turn.size // 2), DTYPES[dtype_of(turn.sine)])
            signed[turn.sine] = new.add("Mul", turn.sine, signs)
    pairs = _pairs(found)
    together = {id(turn) for pair in pairs for turn in pair}
    for turn in found:
        if id(turn) not in together:
            new = NewNodes(turn.total)
            new.replace(_turned(new, turn.x, turn, signed[turn.sine]))
    for first, second in pairs:
        _turn_together(first, second, signed[first.sine])
    if found:
        model.graph.sort()
        drop_unread(model)
    return len(found), len(pairs)


def _turn(halves: ir.Node) -> _Turn | None:
    if halves.op_type != "Concat" or halves.domain or len(halves.inputs) != 2:
        return None
    negated = maker(halves.inputs[0], "Neg")
    second, first = _part(negated.inputs[0] if negated is not None else None), _part(halves.inputs[1])
    across = _reader(halves, "Mul")
    total = _reader(across, "Add") if across is not None else None
    if first is None or second is None or across is None or total is None or first[0] is not second[0]:
        return None
    x, shape = first[0], shape_of(first[0])
    sine = _beside(across, halves.outputs[0])
    straight = maker(_beside(total, across.outputs[0]), "Mul")
    if shape is None or straight is None or all(value is not x for value in straight.inputs):
        return None
    place = 0 if straight.inputs[0] is x else 1
    cosine, size, rank = straight.inputs[1 - place], shape[-1], len(shape)
    if not isinstance(size, int) or ints(halves, "axis", 0) % rank != rank - 1 or sine is None or cosine is None:
        return None
    cut = (*first[1:], *second[1:]) == (0, size // 2, size // 2, size)
    wide = all((shape_of(value) or ("?",))[-1] == size for value in (sine, cosine))
    if not cut or not wide or dtype_of(sine) not in DTYPES:
        return None
    return _Turn(size, cosine, sine, straight, place, across, total)


def _part(value: ir.Value | None) -> tuple[ir.Value, int, int] | None:
    """(what the value is a part of along its last axis, from where, to where)."""
    node = value.producer() if value is not None else None
    source = node.inputs[0] if node is not None and node.inputs else None
    shape = shape_of(source)
    if node is None or node.domain or source is None or not shape or not isinstance(shape[-1], int):
        return None
    size, rank = shape[-1], len(shape)
    if node.op_type == "Slice" and len(node.inputs) >= 4:
        numbers = [stored(given) for given in node.inputs[1:]]
        if any(n is None or n.size != 1 for n in numbers):
            return None
        start, end, axis, *step = [int(n.item()) for n in numbers if n is not None]
        if axis % rank == rank - 1 and step in ([], [1]):
            return source, *slice(start, end).indices(size)[:2]
    if node.op_type == "Split" and ints(node, "axis", 0) % rank == rank - 1:
        sizes = [(shape_of(part) or ("?",))[-1] for part in node.outputs]
        if all(isinstance(part, int) for part in sizes):
            ends = np.cumsum([0, *sizes])
            number = next(n for n, part in enumerate(node.outputs) if part is value)
            return source, int(ends[number]), int(ends[number + 1])
    return None


def _reader(node: ir.Node, operator: str) -> ir.Node | None:
    """The node that alone reads what this one gives, where it is of this operator."""
    uses = node.outputs[0].uses()
    if len(uses) != 1 or node.outputs[0].is_graph_output():
        return None
    (use,) = uses
    return use.node if use.node.op_type == operator and not use.node.domain else None


def _beside(node: ir.Node, value: ir.Value) -> ir.Value | None:
    return node.inputs[1] if node.inputs[0] is value else node.inputs[0]


def _turned(new: NewNodes, x: ir.Value, like: _Turn, sine: ir.Value) -> ir.Value:
    """x turned; the sine is negated for its first half."""
    changed = new.add("Concat", _cut(new, x, like.size // 2, like.size), _cut(new, x, 0, like.size // 2), axis=-1)
    return new.add("Add", new.add("Mul", x, like.cosine), new.add("Mul", changed, sine))


def _cut(new: NewNodes, value: ir.Value, start: int, end: int, axis: int = -1) -> ir.Value:
    return new.add("Slice", value, *(new.constant([n]) for n in (start, end, axis)))


def _pairs(found: list[_Turn]) -> list[tuple[_Turn, _Turn]]:
    """Neighbours, [batch, heads, 1, size] each, by the same angles, of which neither comes of the other."""
    pairs: list[tuple[_Turn, _Turn]] = []
    left = list(found)
    while len(left) > 1:
        first, second = left[:2]
        fits = _of_one_place(first, second) and not _comes_of(second.x, first.total)
        if fits:
            pairs.append((first, second))
        left = left[2 if fits else 1 :]
    return pairs


def _of_one_place(first: _Turn, second: _Turn) -> bool:
    one, other = shape_of(first.x) or (), shape_of(second.x) or ()
    if first.sine is not second.sine or first.cosine is not second.cosine or len(one) != 4 or len(other) != 4:
        return False
    if not isinstance(one[1], int) or not isinstance(other[1], int) or one[0] == "?":
        return False
    # A table with an axis of heads would fit one of the two alone.
    tables = [shape_of(value) or () for value in (first.sine, first.cosine)]
    return one[0] == other[0] and one[2] == other[2] == 1 and all(table[-3:-2] in ((), (1,)) for table in tables)


def _comes_of(value: ir.Value, node: ir.Node) -> bool:
    todo, seen = [value.producer()], set()
    while todo:
        one = todo.pop()
        if one is node:
            return True
        if one is not None and one not in seen:
            seen.add(one)
            todo.extend(given.producer() for given in one.inputs if given is not None)
    return False


def _turn_together(first: _Turn, second: _Turn, sine: ir.Value) -> None:
    heads = [(shape_of(turn.x) or ())[1] for turn in (first, second)]
    assert isinstance(heads[0], int) and isinstance(heads[1], int)
    new = NewNodes(second.total)
    both = _turned(new, new.add("Concat", first.x, second.x, axis=1), first, sine)
    parts = _cut(new, both, 0, heads[0], 1), _cut(new, both, heads[0], heads[0] + heads[1], 1)
    for turn, part in zip((first, second), parts, strict=True):
        NewNodes(turn.total).replace(part)


class Rotary:
    name = "rotary"
    summary = "turn queries and keys by their places in fewer nodes: the sine is negated, once, and not they"

    def requires(self, before: GraphInfo) -> str:
        return "" if before.opset >= 13 else f"it needs opset 13 or later, and the graph has {before.opset}"

    def run(self, source: Path, target: Path, isolated: ChildProcess) -> PassResult:
        model = load(source)
        turned, pairs = rewrite(model)
        if not turned:
            return PassResult(source, "nothing is turned by halves", idle=True)
        ir.save(model, target)
        return PassResult(target, f"{turned} tensors are turned without Neg, {2 * pairs} of them in pairs")

    def ensures(self, before: GraphInfo, after: GraphInfo) -> str:
        return same_opset(before, after)


PASS = Rotary()
