"""Decides what a block must become so that TensorRT fuses it: which head size, how many heads, what to pad.

The kernels want queries, keys and values of one head size, an axis of heads, and more than one head where the batch is
fixed at 1 (docs/attention/survey.md). Values of Dv elements are therefore viewed as heads of d >= Dk elements each; queries
and keys are padded with zeros to d and repeated for each of them. Zeros add nothing to a score, and every head of one
query has the same weights, so the answer is the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir
from attn_runtime.bundle import AttentionBlock
from attn_runtime.trt import HEAD_SIZES

from ..onnx_graph import Size, is_one_number, shape_of
from .match import Match

#: Kernels are made for multiples of this; any other size costs a copy.
_HEAD_SIZE_MULTIPLE = 8
_MIN_HEAD_SIZE = 16
#: The operators that may stand between the products: they work on each score alone, in any rank.
_ABOVE = {"Mul", "Div", "Add", "Sub", "Max", "Min", "Where", "Cast", "Identity", "Clip", "Tanh", "Neg", "Dropout"}
_BELOW = {"Cast", "Identity", "Dropout", "Where", "Transpose"}


@dataclass(frozen=True)
class TrtRewritePlan:
    """`size` is the new head size, `parts` the heads that each old head becomes; `rank` that of the scores, 2 to 4.

    `split`: the queries are split over two heads instead, for a block that needs nothing but a second head; their number,
    or "?" where it is dynamic.
    """

    rank: int
    head_size: int
    value_size: int
    size: int
    parts: int
    heads: int = 1
    split: Size | None = None

    @property
    def width(self) -> int:
        """Of the values, padded."""
        return self.size * self.parts

    @property
    def leading(self) -> tuple[int, ...]:
        """The axes in front of the last two, as a Reshape takes them: 0 keeps the batch."""
        return {2: (), 3: (0,), 4: (0, self.heads)}[self.rank]


@dataclass(frozen=True)
class Unchanged:
    """A block that stays as it is; `reason` is empty for one that fuses as it is."""

    reason: str = ""


def plan(match: Match, block: AttentionBlock) -> TrtRewritePlan | Unchanged:
    """What to make of a block, whatever its precision is now."""
    shape = shape_of(match.scores.node.outputs[0]) or shape_of(match.softmax.inputs[0])
    dk, dv = block.head_size, block.value_size
    if shape is None or dk is None or dv is None:
        return Unchanged("its sizes are not in the graph; run the pass simplify first")
    rank = len(shape)
    batch_of_1 = rank < 3 or shape[0] == 1
    folded = rank == 3 and (block.heads or 1) > 1
    # Of a fixed batch the compiler makes heads by itself, of a dynamic one only sometimes. To add an axis costs nothing.
    single = rank < 4 and not folded and not (isinstance(shape[0], int) and shape[0] > 1)
    alone = batch_of_1 and not folded and (rank < 4 or shape[1] == 1)
    low, high = HEAD_SIZES
    if dk == dv and low <= dk <= high and not single and not alone:
        return Unchanged()
    if problem := _problem(match, rank):
        return Unchanged(problem)
    if dk > high:
        return Unchanged(f"a key has {dk} elements, and no kernel takes more than {high}")
    heads = shape[1] if rank == 4 else 1
    if not isinstance(heads, int):
        return Unchanged("its number of heads is not in the graph")
    chosen = _size(dk, dv, at_least=2 if alone else 1)
    if chosen is None:
        return _split(match, rank, dk, dv)
    size, parts = chosen
    if parts > 1 and rank == 4 and (of_heads := _masks_of_heads(match)):
        return Unchanged(
            f"its mask {of_heads} differs from head to head, and the heads would have to be {parts} times as many"
        )
    return TrtRewritePlan(rank, dk, dv, size, parts, heads)


def _size(dk: int, dv: int, at_least: int) -> tuple[int, int] | None:
    """(head size, parts) with the fewest padded elements, the smallest such size; None when there is none."""
    first = max(_MIN_HEAD_SIZE, -(-dk // _HEAD_SIZE_MULTIPLE) * _HEAD_SIZE_MULTIPLE)
    sizes = []
    for size in range(first, HEAD_SIZES[1] + 1, _HEAD_SIZE_MULTIPLE):
        parts = -(-dv // size)
        if parts >= at_least:
            sizes.append((size * parts, size, parts))
    best = min(sizes, default=None)
    return best[1:] if best is not None else None


def _split(match: Match, rank: int, dk: int, dv: int) -> TrtRewritePlan | Unchanged:
    """One head at a batch of 1 whose values can't be split over two heads: split the queries."""
    for value in side_inputs(match):
        if not is_one_number(value):
            return Unchanged(
                f"one head at a batch of 1, with the mask {value.name}; a batch of 2 or a dynamic batch fuses"
            )
    length, _ = match.scores.sizes(match.scores.other)
    size = max(_MIN_HEAD_SIZE, -(-max(dk, dv) // _HEAD_SIZE_MULTIPLE) * _HEAD_SIZE_MULTIPLE)
    return TrtRewritePlan(rank, dk, dv, size, 1, 1, length if isinstance(length, int) else "?")


def _problem(match: Match, rank: int) -> str:
    """What stands in the way of any rewrite; empty when nothing does."""
    if rank > 4:
        return f"its scores have rank {rank}"
    if match.in_body:
        return "it lies in the body of an If or Loop"
    for product in (match.scores, match.values):
        if product.node.op_type != "MatMul":
            return f"it is written with {product.node.op_type}"
        if {len(shape_of(value) or ()) for value in product.node.inputs} != {rank}:
            return "its operands have different ranks"
    if rank == 4 and len({(shape_of(v) or "?" * 4)[1] for v in (match.queries, match.keys, match.value)}) > 1:
        return "its heads share keys or values by broadcasting"
    if match.scores.side != 1:
        return "its softmax runs over the rows"
    for node in match.above:
        if node.op_type not in _ABOVE:
            return f"{node.op_type} {node.name} lies between the scores and the softmax"
    turned = False
    for node in match.below:
        if node.op_type not in _BELOW or (turned and node.op_type == "Where"):
            return f"{node.op_type} {node.name} lies between the softmax and the values"
        if node.op_type == "Transpose":
            turned = True
            if tuple(node.attributes["perm"].as_ints()[:-2]) != tuple(range(rank - 2)):
                return f"Transpose {node.name} moves more than the last two axes"
    for node in (match.scores.node, *match.above, match.softmax, *match.below):
        result = node.outputs[0]
        if any(value.is_graph_output() for value in node.outputs):
            return f"{result.name} is an output of the graph"
        for reader in result.consumers():
            if reader not in match.nodes and not _only_fills_empty_rows(match, reader):
                return f"{result.name} is read by {reader.op_type} {reader.name} too"
    for value in side_inputs(match):
        shape = shape_of(value)
        if shape is None or len(shape) > max(rank, 2):
            return f"nothing is known of the rank of {value.name}"
    return ""


def _only_fills_empty_rows(match: Match, reader: ir.Node) -> bool:
    """An IsNaN whose answer goes back into the block: rows without any key become 0."""
    return reader.op_type == "IsNaN" and all(r in match.nodes for v in reader.outputs for r in v.consumers())


def side_inputs(match: Match) -> list[ir.Value]:
    """What the nodes between the products read beside the scores: masks, scales, fills."""
    on_path = {value for node in match.nodes for value in node.outputs}
    fills = [r for value in on_path for r in value.consumers() if _only_fills_empty_rows(match, r)]
    inside = on_path.union(value for node in fills for value in node.outputs)
    inputs = (value for node in (*match.above, *match.below) for value in node.inputs)
    return [value for value in inputs if value is not None and value not in inside]


def _masks_of_heads(match: Match) -> str:
    for value in side_inputs(match):
        shape = shape_of(value) or ()
        if len(shape) >= 3 and shape[-3] != 1:
            return value.name or ""
    return ""
