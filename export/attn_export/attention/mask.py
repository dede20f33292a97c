"""What kind of mask lies on the scores of an attention block, by following it to where it comes from."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from ..onnx_graph import is_constant, is_one_number, stored
from .match import Match

#: From here down a value added to a score means "not this one" (fp16 ends at -65504).
_CLOSED = -1e4
_COMPARES = {"Less", "LessOrEqual", "Greater", "GreaterOrEqual"}
#: Their results depend on sizes, not on what the tensors hold.
_OF_SIZES = {"Shape", "Size", "ConstantOfShape"}
_MAX_NODES = 400
_STRENGTH = ("none", "causal", "bool", "additive")


def mask_kind(match: Match) -> str:
    """ "none", "causal" (from positions alone), "bool" (data, open or closed) or "additive" (data, any number).

    Of several masks on one block the one that asks most of a kernel, in that order.
    """
    kinds = ["none"]
    on_path = {value for node in match.nodes for value in node.outputs}
    for node in match.above:
        if node.op_type == "Where":
            kinds.append(_kind(node.inputs[0], "bool"))
        elif node.op_type in ("Add", "Sub"):
            kinds += [_kind(v, "additive") for v in node.inputs if v not in on_path and not is_one_number(v)]
    return max(kinds, key=_STRENGTH.index)


def _kind(value: ir.Value | None, otherwise: str) -> str:
    """The kind of a mask tensor; `otherwise` for one that tells nothing of its making."""
    from_data = triangular = opened = False
    seen: set[ir.Value] = set()
    todo = [value]
    while todo and len(seen) < _MAX_NODES:
        current = todo.pop()
        if current is None or current in seen:
            continue
        seen.add(current)
        node = current.producer()
        if node is None or node.op_type == "Constant":
            if is_constant(current):
                triangular |= _is_triangular(stored(current))
            else:
                from_data = True
            continue
        if node.op_type in _OF_SIZES:
            continue
        triangular |= node.op_type == "Trilu" or (node.op_type in _COMPARES and _of_ranges(node))
        if node.op_type == "Where" and _chooses_open_or_closed(node):
            opened = True
            todo.append(node.inputs[0])
            continue
        todo.extend(node.inputs)
    if triangular and not from_data:
        return "causal"
    return "bool" if opened else otherwise


def _of_ranges(node: ir.Node) -> bool:
    """Whether positions are compared with positions: both sides come from a Range."""
    for value in node.inputs:
        todo, seen = [value], set[ir.Value]()
        while todo and len(seen) < _MAX_NODES:
            current = todo.pop()
            maker = current.producer() if current is not None else None
            if current is None or maker is None or current in seen or maker.op_type in _OF_SIZES:
                continue
            seen.add(current)
            if maker.op_type in ("Range", "CumSum", "Constant"):
                break
            todo.extend(maker.inputs)
        else:
            return False
    return True


def _chooses_open_or_closed(node: ir.Node) -> bool:
    """Where(condition, 0, -inf) or the like: the mask is the condition."""
    values = [_repeated(value) for value in node.inputs[1:]]
    return all(v is not None and v.size == 1 for v in values)


def _repeated(value: ir.Value | None) -> np.ndarray[Any, Any] | None:
    """The value behind casts and reshapes, and the one number that an Expand or a ConstantOfShape repeats."""
    for _ in range(4):
        array = stored(value)
        if array is not None:
            return array
        node = value.producer() if value is not None else None
        if node is not None and node.op_type == "ConstantOfShape":
            tensor = node.attributes.get_tensor("value")
            return np.zeros(1) if tensor is None else tensor.numpy()
        if node is None or node.op_type not in ("Cast", "Identity", "CastLike", "Reshape", "Unsqueeze", "Expand"):
            return None
        value = node.inputs[0]
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
