"""Heads turned by as few nodes as say it.

PyTorch's exporter turns the keys of an attention as a batch of matrices: eight nodes that fold the axes in front into one,
swap the last two, and unfold. ONNX Runtime takes a Transpose into the product behind it (FusedMatMul), but not through a Reshape.
And where a sequence has length 1, as in a generator's step, heads change places with an axis of size 1: that is no Transpose, and
with the Reshape beside it, one Reshape.

There a query is one row, and ONNX Runtime multiplies a row with keys as they lie, of 1.0 times the product alone: of any other
factor, and it takes one that is a single number into the product, it copies the keys in another order first. So a query of one
row is scaled by as many equal numbers as it is wide, and for the keys too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
from attn_runtime.child_process import ChildProcess

from ..onnx_graph import GraphInfo, Size, index, is_constant, load, shape_of, stored
from ._base import PassResult, same_opset
from ._new_nodes import NewNodes, drop_unread, ints, maker

#: The sizes in a tensor of them; an axis of a value whose size has no name is that value and the axis.
_Sizes = tuple["Size | tuple[ir.Value, int]", ...]


def rewrite(model: ir.Model) -> tuple[int, int]:
    """Rewrite, in place: how many foldings around a Transpose, and how many Transposes of an axis of size 1, are gone."""
    index(model)
    folded = [node for node in model.graph.all_nodes() if _unfolded(node) is not None]
    for node in folded:
        value = _unfolded(node)
        assert value is not None
        new, rank = NewNodes(node), len(shape_of(value) or ())
        new.replace(new.swap(value, rank, rank - 2, rank - 1))
    if folded:
        drop_unread(model)
        index(model)
    turned = sum(_as_reshape(node) for node in list(model.graph.all_nodes()) if node.op_type == "Transpose")
    if turned:
        drop_unread(model)
    return len(folded), turned


def scale_queries(model: ir.Model) -> int:
    """Scale queries of one row before their product with keys, in place, by a vector; how many products are written anew."""
    index(model)
    scaled: dict[tuple[int, ir.Value, np.float32], ir.Value] = {}
    products = [node for node in model.graph.all_nodes() if _of_one_row(node)]
    done = 0
    for node in products:
        query, before = _unscaled(node.inputs[0])
        keys, beside = _unscaled(node.inputs[1])
        behind = _scaled_behind(node)
        if before == beside == 1 and behind is None:
            continue
        factor = np.float32(before * beside * (1.0 if behind is None else behind[1]))
        width = (shape_of(node.inputs[0]) or (0,))[-1]
        assert isinstance(width, int)
        key = (id(node.graph), query, factor)
        if key not in scaled:  # the newest key has a product of its own with the same query
            new = NewNodes(node)
            scaled[key] = new.add("Mul", query, new.constant(np.full(width, factor), ir.DataType.FLOAT))
        node.replace_input_with(0, scaled[key])
        node.replace_input_with(1, keys)
        if behind is not None:
            NewNodes(behind[0]).replace(node.outputs[0])
        done += 1
    if done:
        drop_unread(model)
    return done


def _of_one_row(node: ir.Node) -> bool:
    """Whether it is a product of one row, in each of several matrices, with what was computed."""
    if node.op_type != "MatMul" or node.domain or not isinstance(node.graph, ir.Graph) or is_constant(node.inputs[1]):
        return False
    shape, keys = shape_of(node.inputs[0]), shape_of(node.inputs[1])
    if shape is None or keys is None or len(shape) < 3 or len(keys) < 3:
        return False
    return shape[-2] == 1 and isinstance(shape[-1], int) and shape[-1] > 1


def _unscaled(value: ir.Value | None) -> tuple[ir.Value, float]:
    """What a Mul or Div multiplies with a single float32, and that number; the value itself and 1 where none does."""
    assert value is not None
    node = maker(value, "Mul") or maker(value, "Div")
    if node is None:
        return value, 1.0
    for side in (0, 1) if node.op_type == "Mul" else (0,):
        given, number = node.inputs[side], stored(node.inputs[1 - side])
        shape = shape_of(given)
        if given is None or shape is None or number is None or number.dtype != np.float32:
            continue
        if number.size == 1 and number.ndim <= len(shape) and number.item():
            return given, number.item() if node.op_type == "Mul" else 1 / number.item()
    return value, 1.0


def _scaled_behind(node: ir.Node) -> tuple[ir.Node, float] | None:
    """The Mul or Div by a single number that alone reads the product, and its factor."""
    out = node.outputs[0]
    readers = [use.node for use in out.uses()]
    if len(readers) != 1 or out.is_graph_output() or readers[0].graph is not node.graph:
        return None
    given, factor = _unscaled(readers[0].outputs[0])
    return (readers[0], factor) if given is out else None


def _unfolded(node: ir.Node) -> ir.Value | None:
    """The value whose last two axes a Reshape, behind a Transpose and another Reshape, has swapped; None for any other node."""
    turn = maker(node.inputs[0], "Transpose") if node.op_type == "Reshape" else None
    fold = maker(turn.inputs[0], "Reshape") if turn is not None else None
    if turn is None or fold is None or list(turn.attributes.get_ints("perm", ())) != [0, 2, 1]:
        return None
    value = fold.inputs[0]
    shape, inner, outer = shape_of(value), _sizes(fold.inputs[1]), _sizes(node.inputs[1])
    if value is None or shape is None or len(shape) < 3 or inner is None or outer is None:
        return None
    own = tuple(_axis(value, axis) for axis in range(len(shape)))
    swapped = (*own[:-2], own[-1], own[-2])
    # A -1 in front of the known sizes is what is left: the axes in front.
    fits = len(outer) == len(own) and outer[-2:] == swapped[-2:] and outer[:-2] in (own[:-2], (-1, *own[1:-2]))
    return value if inner[1:] == own[-2:] and len(inner) == 3 and fits else None


def _sizes(value: ir.Value | None) -> _Sizes | None:
    """What a tensor of sizes holds; None where that is not known."""
    constant = stored(value)
    if constant is not None:
        return tuple(int(n) for n in constant.reshape(-1))
    node = value.producer() if value is not None else None
    if node is None or node.domain:
        return None
    if node.op_type == "Shape":
        source = node.inputs[0]
        shape = shape_of(source)
        if source is None or shape is None:
            return None
        own = tuple(_axis(source, axis) for axis in range(len(shape)))
        return own[ints(node, "start", 0) : ints(node, "end", len(own))]
    if node.op_type == "Concat":
        parts = [_sizes(part) for part in node.inputs]
        return tuple(size for part in parts for size in part or ()) if None not in parts else None
    if node.op_type == "Slice" and len(node.inputs) == 3:
        whole, start, end = _sizes(node.inputs[0]), stored(node.inputs[1]), stored(node.inputs[2])
        if whole is not None and start is not None and end is not None:
            return whole[int(start.item()) : int(end.item())]
    return None


def _axis(value: ir.Value, axis: int) -> Size | tuple[ir.Value, int]:
    shape = shape_of(value)
    assert shape is not None
    return (value, axis) if shape[axis] == "?" else shape[axis]


def _as_reshape(turn: ir.Node) -> bool:
    """Write a Transpose that moves axes of size 1 alone, and Reshapes around it, as one Reshape; whether that was done."""
    shape, perm = shape_of(turn.inputs[0]), tuple(turn.attributes.get_ints("perm", ()))
    if turn.domain or shape is None or len(perm) != len(shape):
        return False
    moved = [axis for axis in perm if shape[axis] != 1]
    if perm == tuple(sorted(perm)) or moved != sorted(moved) or perm[-1] != len(perm) - 1:
        return False  # a product takes a Transpose of its last two axes, of which one is 1, into itself
    made, out = maker(turn.inputs[0], "Reshape"), turn.outputs[0]
    uses = [use.node for use in out.uses() if use.idx == 0]
    if made is not None:
        source, ends = made.inputs[0], [turn]
    elif 0 < len(uses) == len(out.uses()) and all(n.op_type == "Reshape" for n in uses) and not out.is_graph_output():
        source, ends = turn.inputs[0], uses
    else:
        return False
    before = shape_of(source)
    shapes = [tuple(shape[axis] for axis in perm)] if made is not None else [shape_of(end.outputs[0]) for end in ends]
    targets = [_target(before, after) for after in shapes]
    if source is None or None in targets:
        return False
    for end, target in zip(ends, targets, strict=True):
        assert target is not None
        new = NewNodes(end)
        new.replace(new.reshape(source, *target))
    return True


def _target(before: tuple[Size, ...] | None, after: tuple[Size, ...] | None) -> tuple[int, ...] | None:
    """What a Reshape from one shape to the other is given; None where it can't be said in numbers.

    A size with a name is copied from its own place; of one that is somewhere else, or not known, there may be but one.
    """
    if before is None or after is None:
        return None
    same = [size != "?" and before[n : n + 1] == (size,) for n, size in enumerate(after)]
    target = [size if isinstance(size, int) else 0 if kept else -1 for size, kept in zip(after, same, strict=True)]
    return tuple(target) if target.count(-1) <= 1 else None


class Heads:
    name = "heads"
    summary = (
        "turn the heads of attention by one node, and scale the query of a single token so that keys stay as they lie"
    )

    def requires(self, before: GraphInfo) -> str:
        return ""

    def run(self, source: Path, target: Path, isolated: ChildProcess) -> PassResult:
        model = load(source)
        folded, turned = rewrite(model)
        scaled = scale_queries(model)
        if not folded and not turned and not scaled:
            return PassResult(source, "every head is turned by one node", idle=True)
        ir.save(model, target)
        parts = {
            "Transposes lost their Reshapes": folded,
            "became Reshapes": turned,
            "products of one row are scaled by a vector": scaled,
        }
        return PassResult(target, ", ".join(f"{count} {what}" for what, count in parts.items()))

    def ensures(self, before: GraphInfo, after: GraphInfo) -> str:
        return same_opset(before, after)


PASS = Heads()
