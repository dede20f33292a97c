"""Weights and biases: a sign, a size, an order, a part that is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import onnx_ir as ir

from ...onnx_graph import shape_of
from ._edit import Array, Change, Unchanged, is_float

#: What is less is a constant of the arithmetic, and more would not fit into a graph file beside the rest.
MIN_ELEMENTS, MAX_BYTES = 2, 512 << 20


def changes(node: ir.Node) -> Iterator[Change]:
    for value in node.inputs:
        if value is None or not is_float(value) or value.const_value is None:
            continue
        tensor, shape = value.const_value, shape_of(value) or ()
        if tensor.size < MIN_ELEMENTS or tensor.nbytes > MAX_BYTES:
            continue
        name = value.name or ""
        vector = sum(size != 1 for size in shape) <= 1
        for what, how in (_VECTOR if vector else _MATRIX).items():
            family = "bias" if vector else "weight"
            yield Change(family, f"{name}: {what}", _replaced(name, how), name)


def _replaced(name: str, how: Callable[[Array], Array]) -> Callable[[ir.Graph, ir.Node], None]:
    def edit(graph: ir.Graph, node: ir.Node) -> None:
        value = next(v for v in node.inputs if v is not None and v.name == name)
        tensor = value.const_value
        assert tensor is not None
        before = tensor.numpy()
        after = how(before)
        if np.array_equal(before.astype(np.float32), after.astype(np.float32)):
            raise Unchanged
        new = ir.Tensor(np.ascontiguousarray(after.astype(before.dtype)), dtype=tensor.dtype, name=name)
        maker = value.producer()
        if maker is not None:  # a Constant node
            maker.attributes.clear()
            maker.attributes["value"] = ir.AttrTensor("value", new)
        value.const_value = new

    return edit


def _negated(w: Array) -> Array:
    return -w


def _scaled(w: Array) -> Array:
    return np.asarray(w * np.asarray(1.02, w.dtype))


def _cleared(w: Array) -> Array:
    return np.zeros_like(w)


def _rows_swapped(w: Array) -> Array:
    """Rows of the first axis that has several: the first and the middle one."""
    axis = _rows(w)
    order = np.arange(w.shape[axis])
    middle = len(order) // 2
    order[[0, middle]] = order[[middle, 0]]
    return w.take(order, axis)


def _rows_turned(w: Array) -> Array:
    return np.roll(w, 1, _rows(w))


def _row_cleared(w: Array) -> Array:
    axis = _rows(w)
    after = w.copy()
    after[(slice(None),) * axis + (w.shape[axis] // 2,)] = 0
    return after


def _last_axis_turned(w: Array) -> Array:
    return np.roll(w, 1, -1)


def _rows(w: Array) -> int:
    return next((axis for axis, size in enumerate(w.shape) if size > 1), 0)


_MATRIX = {
    "negated": _negated,
    "times 1.02": _scaled,
    "two rows swapped": _rows_swapped,
    "rows turned by one": _rows_turned,
    "columns turned by one": _last_axis_turned,
    "one row 0": _row_cleared,
}
_VECTOR = {
    "dropped (all 0)": _cleared,
    "negated": _negated,
    "times 1.02": _scaled,
    "turned by one": _rows_turned,
}
