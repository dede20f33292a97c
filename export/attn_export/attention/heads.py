"""How many heads an attention block has, and how many of keys and values: from an axis, or from how it was folded."""

from __future__ import annotations

from collections.abc import Set

import onnx_ir as ir

from ..onnx_graph import is_constant, shape_of
from .match import Match

_PASSED = {"Mul", "Div", "Transpose", "Cast", "Identity", "Unsqueeze", "Squeeze", "Gather", "Split", "Slice", "Add"}
_REACH = 16


def heads_of(match: Match) -> tuple[int | None, int | None]:
    """(heads, heads of keys and values): None where the graph does not tell, 1 where it has no axis of heads."""
    result = shape_of(match.scores.node.outputs[0])
    keys = shape_of(match.keys)
    if result is None:
        return None, None
    if len(result) == 2:
        return 1, 1
    if len(result) == 3:
        folded = [_folded(value) for value in (match.queries, match.keys, match.value)]
        heads = max((h for h in folded if h is not None), default=None)
        return heads, heads
    if len(result) == 5 and keys is not None and len(keys) == 5 and keys[2] == 1 and result[2] != 1:
        groups, each = result[1], result[2]
        heads = groups * each if isinstance(groups, int) and isinstance(each, int) else None
        return heads, groups if isinstance(groups, int) else None
    heads = result[-3] if isinstance(result[-3], int) else None
    repeated = _repeated(match.keys)
    if repeated is not None and repeated == _repeated(match.value):
        return heads, repeated
    own = keys[-3] if keys is not None and len(keys) == len(result) and isinstance(keys[-3], int) else heads
    return heads, own if match.scores.node.op_type != "Einsum" else heads


def _folded(value: ir.Value) -> int | None:
    """Heads that were folded into the batch axis by a reshape of the last axis; 1 without one, None when shapes are lost."""
    node = _back(value, {"Reshape"})
    # Exporters may take several reshapes for it; the one that changes the last axis is the split.
    for _ in range(3):
        if node is None or node.op_type != "Reshape":
            return 1
        old, new = shape_of(node.inputs[0]), shape_of(node.outputs[0])
        if old is None or new is None:
            return None
        if new[-1] == "?":  # [batch, channels, height, width] to [batch, channels, positions] tells enough
            return 1 if len(old) == 4 and len(new) == 3 and isinstance(old[1], int) and old[1] == new[1] else None
        width, size = old[-1], new[-1]
        if isinstance(width, int) and isinstance(size, int) and width > size > 0 and width % size == 0:
            return width // size
        if len(new) == 3 and len(old) == 4 and width == size:
            return old[1] if isinstance(old[1], int) else None
        node = _back(node.inputs[0], {"Reshape"})
    return 1


def _repeated(value: ir.Value) -> int | None:
    """Heads of keys before they were repeated for the queries' heads (grouped-query attention). Else None."""
    node = _back(value, {"Expand", "Tile"}, {"Reshape"})
    if node is None or node.op_type not in ("Expand", "Tile"):
        return None
    old, new = shape_of(node.inputs[0]), shape_of(node.outputs[0])
    if old is None or len(old) not in (4, 5):
        return None
    grew = new is None or len(new) != len(old) or old[-3] != new[-3]
    heads = old[-4] if len(old) == 5 else old[-3]
    return heads if grew and old[-3] == 1 and isinstance(heads, int) else None


def _back(value: ir.Value | None, kinds: Set[str], passed: Set[str] = frozenset()) -> ir.Node | None:
    """The nearest node above of one of the kinds, through nodes that leave heads alone; else where that ended."""
    for _ in range(_REACH):
        node = value.producer() if value is not None else None
        if node is None or node.op_type in kinds or node.op_type not in _PASSED | passed:
            return node
        value = next((i for i in node.inputs if not is_constant(i)), None)
    return None
