"""ScatterElements and ScatterND with a reduction, in operators that TensorRT's parser reads: it refuses every reduction.

Where all columns of a row go to the same place, a sum is a product with a matrix of ones and zeros, [places, rows]. Else,
and for a maximum, minimum, product or integers, each place chooses its rows from all of them and reduces these. Both grow
with places x rows, so that they are for small grids: what is larger stays, and is refused by name.

An infinite or undefined row makes the product undefined at all places. What is chosen does not.
"""

from __future__ import annotations

import math

import onnx_ir as ir

from ..onnx_graph import Size, dtype_of, shape_of
from ._new_nodes import DTYPES, NewNodes, ints, known, text

#: Elements of what is made on the way; where the number of rows varies, of one row.
_MOST, _MOST_A_ROW = 1 << 26, 1 << 16
_FLOATS = ("float32", "float16", "bfloat16")
#: reduction -> the operator over an axis, the one over two tensors, and what leaves a float as it is.
_REDUCTIONS = {
    "add": ("ReduceSum", "Add", 0.0),
    "mul": ("ReduceProd", "Mul", 1.0),
    "max": ("ReduceMax", "Max", -math.inf),
    "min": ("ReduceMin", "Min", math.inf),
}


def rewrite_scatter(node: ir.Node) -> str:
    """Rewrite the node in place; why it was left, or "" where it was not."""
    how = text(node, "reduction", "none")
    data, index, updates = node.inputs
    shapes = [shape_of(value) for value in (data, index, updates)]
    if how not in _REDUCTIONS:
        return f"its reduction is {how}"
    if not all(map(known, shapes)):
        return "its shapes are not known"
    if dtype_of(data) not in DTYPES or (dtype_of(data) not in _FLOATS and how != "add"):
        return f"it reduces {dtype_of(data)} by {how}"
    write = _elements if node.op_type == "ScatterElements" else _rows
    return write(node, how, *shapes)  # type: ignore[arg-type]


def _elements(
    node: ir.Node, how: str, data: tuple[Size, ...], index: tuple[Size, ...], updates: tuple[Size, ...]
) -> str:
    rank = len(data)
    axis = ints(node, "axis", 0) % rank
    if [s for n, s in enumerate(data) if n != axis] != [s for n, s in enumerate(updates) if n != axis]:
        return "it scatters to a part of the other axes"
    new = NewNodes(node)
    source, places, values = node.inputs
    assert source is not None and places is not None and values is not None
    dtype = dtype_of(source)
    bare = places
    maker = places.producer()
    if maker is not None and maker.op_type == "Expand":
        before = shape_of(maker.inputs[0])
        if known(before) and before is not None and len(before) == rank and before[axis] == index[axis]:
            bare = maker.inputs[0]  # type: ignore[assignment]
            index = before
    if rank == 1:
        source, bare, values = (new.reshape(v, -1, 1) for v in (source, bare, values))
        data, index, updates, rank = (*data, 1), (*index, 1), (*updates, 1), 2
    beside = rank - 2
    bare = new.add("Cast", bare, to=ir.DataType.INT64)
    source, bare, values = (new.swap(v, rank, axis, beside) for v in (source, bare, values))
    data, index, updates = (_swapped(s, axis, beside) for s in (data, index, updates))
    product = how == "add" and index[-1] == 1 and dtype in _FLOATS
    if problem := _too_large(data[-2], updates[-2], [*updates[:-2], 1 if product else updates[-1]]):
        return problem
    answer = _reduced(new, how, source, bare, values, product, DTYPES[dtype])
    answer = new.swap(answer, rank, axis, beside)
    new.replace(new.reshape(answer, -1) if len(shape_of(node.inputs[0]) or ()) == 1 else answer)
    return ""


def _rows(node: ir.Node, how: str, data: tuple[Size, ...], index: tuple[Size, ...], updates: tuple[Size, ...]) -> str:
    depth = index[-1]
    if not isinstance(depth, int) or not all(isinstance(size, int) for size in data[1:depth]):
        return "its places are not known"
    new = NewNodes(node)
    source, places, values = node.inputs
    assert source is not None and places is not None and values is not None
    rows: Size = math.prod(index[:-1]) if all(isinstance(s, int) for s in index[:-1]) else "rows"
    grid: Size = math.prod(data[:depth]) if isinstance(data[0], int) else data[0]
    width = math.prod(s for s in data[depth:] if isinstance(s, int))
    product = how == "add" and dtype_of(source) in _FLOATS
    if problem := _too_large(grid, rows, [1 if product else width]):
        return problem
    flat = new.reshape(new.add("Cast", places, to=ir.DataType.INT64), -1, depth)
    if depth > 1:
        # Each coordinate from 0 on, then one number for the place.
        sizes = new.sizes(source, 0, depth)
        steps = [math.prod(data[at + 1 : depth]) for at in range(depth)]
        flat = new.add("Mul", _from_zero(new, flat, sizes), new.constant(steps))
        flat = new.add("ReduceSum", flat, new.constant([1]), keepdims=1)
    shape = new.sizes(source, 0)
    behind = new.sizes(source, depth)
    minus = new.constant([-1])
    table = new.add("Concat", minus, new.add("ReduceProd", behind, keepdims=1), axis=0)
    answer = _reduced(
        new,
        how,
        new.add("Reshape", source, table),
        flat,
        new.add("Reshape", values, table),
        product,
        DTYPES[dtype_of(source)],
    )
    new.replace(new.add("Reshape", answer, shape))
    return ""


def _reduced(
    new: NewNodes, how: str, source: ir.Value, places: ir.Value, values: ir.Value, product: bool, dtype: ir.DataType
) -> ir.Value:
    """source [..., N, D], places [..., P, D or 1], values [..., P, D] -> [..., N, D]."""
    over, with_two, neutral = _REDUCTIONS[how]
    size = new.sizes(source, -2, -1)
    zero, one = new.constant(0), new.constant(1)
    every = new.add("Range", zero, new.add("Squeeze", size), one)
    places = _from_zero(new, places, size)
    if product:
        hits = new.add("Equal", new.add("Unsqueeze", every, new.constant([1])), _turned(new, places))
        matrix = new.add("Cast", hits, to=dtype)
        return new.add(with_two, source, new.add("MatMul", matrix, values))
    # [..., N, P, D]: each place sees all rows.
    axis = new.constant([-3])
    hits = new.add("Equal", new.add("Unsqueeze", every, new.constant([1, 2])), new.add("Unsqueeze", places, axis))
    nothing = new.constant([neutral], dtype)
    seen = new.add("Where", hits, new.add("Unsqueeze", values, axis), nothing)
    return new.add(with_two, source, new.add(over, seen, new.constant([-2]), keepdims=0))


def _from_zero(new: NewNodes, places: ir.Value, size: ir.Value) -> ir.Value:
    """Places counted from the end, -1 for the last, counted from the start."""
    return new.add("Where", new.add("Less", places, new.constant(0)), new.add("Add", places, size), places)


def _turned(new: NewNodes, places: ir.Value) -> ir.Value:
    """[..., P, 1] -> [..., 1, P]."""
    return new.add("Unsqueeze", new.add("Squeeze", places, new.constant([-1])), new.constant([-2]))


def _swapped(shape: tuple[Size, ...], one: int, other: int) -> tuple[Size, ...]:
    turned = list(shape)
    turned[one], turned[other] = turned[other], turned[one]
    return tuple(turned)


def _too_large(places: Size, rows: Size, more: list[Size]) -> str:
    """Why so many elements can't be made."""
    counted = math.prod(size for size in (places, *more) if isinstance(size, int))
    if not isinstance(places, int):
        return "the number of its places varies"
    if (counted * rows > _MOST) if isinstance(rows, int) else counted > _MOST_A_ROW:
        return f"with {places} places, each of which would look at all rows, it is too large to be written otherwise"
    return ""
