"""What kind of mask lies on the scores of an attention block, by following it to where it comes from."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from ..onnx_graph.graph_index import GraphView
from .match import Match

#: From here down a value added to a score means "not this one" (fp16 ends at -65504).
_CLOSED = -1e4
_COMPARES = {"Less", "LessOrEqual", "Greater", "GreaterOrEqual"}
#: Their results depend on sizes, not on what the tensors hold.
_OF_SIZES = {"Shape", "Size", "ConstantOfShape"}
_MOST_NODES = 400
_STRENGTH = ("none", "causal", "bool", "additive")


def mask_kind(match: Match) -> str:
    """ "none", "causal" (from positions alone), "bool" (data, open or closed) or "additive" (data, any number).

    Of several masks on one block the one that asks most of a kernel, in that order.
    """
    found = ["none"]
    on_path = {name for node in match.nodes for name in node.output}
    for node in match.above:
        if node.op_type == "Where":
            found.append(_kind(match.view, node.input[0], "bool"))
        elif node.op_type in ("Add", "Sub"):
            for name in node.input:
                if name not in on_path and not match.view.is_one_number(name):
                    found.append(_kind(match.view, name, "additive"))
    return max(found, key=_STRENGTH.index)


def _kind(view: GraphView, name: str, otherwise: str) -> str:
    """The kind of a mask tensor; `otherwise` for one that tells nothing of its making."""
    from_data = triangular = opened = False
    ranges = False
    seen: set[str] = set()
    todo = [name]
    while todo and len(seen) < _MOST_NODES:
        current = todo.pop()
        if current in seen or not current:
            continue
        seen.add(current)
        node = view.producer.get(current)
        if node is None or node.op_type == "Constant":
            if view.is_constant(current):
                triangular |= _is_triangular(view.value(current))
            else:
                from_data = True
            continue
        if node.op_type in _OF_SIZES:
            continue
        triangular |= node.op_type == "Trilu" or (node.op_type in _COMPARES and _of_ranges(view, node))
        ranges |= node.op_type == "Range"
        if node.op_type == "Where" and _chooses_open_or_closed(view, node):
            opened = True
            todo.append(node.input[0])
            continue
        todo.extend(node.input)
    if triangular and not from_data:
        return "causal"
    return "bool" if opened else otherwise


def _of_ranges(view: GraphView, node: onnx.NodeProto) -> bool:
    """Whether positions are compared with positions: both sides come from a Range."""
    for name in node.input:
        todo, seen = [name], set[str]()
        while todo and len(seen) < _MOST_NODES:
            current = todo.pop()
            made = view.producer.get(current)
            if current in seen or made is None or made.op_type in _OF_SIZES:
                continue
            seen.add(current)
            if made.op_type in ("Range", "CumSum", "Constant"):
                break
            todo.extend(made.input)
        else:
            return False
    return True


def _chooses_open_or_closed(view: GraphView, node: onnx.NodeProto) -> bool:
    """Where(condition, 0, -inf) or the like: the mask is the condition."""
    values = [_stored(view, name) for name in node.input[1:]]
    return all(v is not None and v.size == 1 for v in values)


def _stored(view: GraphView, name: str) -> np.ndarray[Any, Any] | None:
    """The value behind casts and reshapes, and the one number that an Expand or a ConstantOfShape repeats."""
    for _ in range(4):
        value = view.value(name)
        if value is not None:
            return value
        node = view.producer.get(name)
        if node is not None and node.op_type == "ConstantOfShape":
            return next((numpy_helper.to_array(a.t) for a in node.attribute if a.name == "value"), np.zeros(1))
        if node is None or node.op_type not in ("Cast", "Identity", "CastLike", "Reshape", "Unsqueeze", "Expand"):
            return None
        name = node.input[0]
    return None


def _is_triangular(value: np.ndarray[Any, Any] | None) -> bool:
    """Whether a stored mask lets each position see those up to itself and no other."""
    if value is None or value.ndim < 2 or value.shape[-1] != value.shape[-2] or value.shape[-1] < 2:
        return False
    if value.size != value.shape[-1] ** 2:
        return False
    square = value.reshape(value.shape[-2:])
    before = np.tri(len(square), dtype=bool)
    if square.dtype == bool or np.issubdtype(square.dtype, np.integer):
        first, rest = square[before], square[~before]
        return bool((first == first[0]).all() and (rest == rest[0]).all() and first[0] != rest[0])
    return bool((square[before] == 0).all() and (square[~before].astype(np.float64) <= _CLOSED).all())
