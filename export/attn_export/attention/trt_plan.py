"""Decides what a block must become so that TensorRT fuses it: which head size, how many heads, what to pad.

The kernels want queries, keys and values of one head size, an axis of heads, and more than one head where the batch is
fixed at 1 (docs/attention/survey.md). Values of Dv elements are therefore viewed as heads of d >= Dk elements each; queries
and keys are padded with zeros to d and repeated for each of them. Zeros add nothing to a score, and every head of one
query has the same weights, so the answer is the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from attn_runtime.bundle.attention_block import AttentionBlock
from attn_runtime.trt.fused_attention import HEAD_SIZES

from ..onnx_graph.graph_index import Size
from .match import Match, product_sizes

#: Kernels are made for multiples of this; any other size costs a copy.
_STEP = 8
_SMALLEST = 16
#: The operators that may stand between the products: they work on each score alone, in any rank.
_ABOVE = {"Mul", "Div", "Add", "Sub", "Max", "Min", "Where", "Cast", "Identity", "Clip", "Tanh", "Neg", "Dropout"}
_BELOW = {"Cast", "Identity", "Dropout", "Where", "Transpose"}


@dataclass(frozen=True)
class TrtRewritePlan:
    """`size` is the new head size, `parts` the heads that each old head becomes; `rank` that of the scores, 2 to 4.

    `split`: the queries are dealt to two heads instead, for a block that needs nothing but a second head; their number,
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
class Left:
    """A block that stays as it is; `reason` is empty for one that fuses as it is."""

    reason: str = ""


def plan(match: Match, block: AttentionBlock) -> TrtRewritePlan | Left:
    """What to make of a block, whatever its precision is now."""
    view = match.view
    shape = view.shape(match.scores.node.output[0]) or view.shape(match.softmax.input[0])
    dk, dv = block.head_size, block.value_size
    if shape is None or dk is None or dv is None:
        return Left("its sizes are not in the graph; run the pass simplify first")
    rank = len(shape)
    one_row = rank < 3 or shape[0] == 1
    folded = rank == 3 and (block.heads or 1) > 1
    # Of a fixed batch the compiler makes heads by itself, of a dynamic one only sometimes. To add an axis costs nothing.
    single = rank < 4 and not folded and not (isinstance(shape[0], int) and shape[0] > 1)
    alone = one_row and not folded and (rank < 4 or shape[1] == 1)
    low, high = HEAD_SIZES
    if dk == dv and low <= dk <= high and not single and not alone:
        return Left()
    if problem := _problem(match, rank):
        return Left(problem)
    if dk > high:
        return Left(f"a key has {dk} elements, and no kernel takes more than {high}")
    heads = shape[1] if rank == 4 else 1
    if not isinstance(heads, int):
        return Left("its number of heads is not in the graph")
    chosen = _size(dk, dv, at_least=2 if alone else 1)
    if chosen is None:
        return _split(match, rank, dk, dv)
    size, parts = chosen
    if parts > 1 and rank == 4 and (of_heads := _masks_of_heads(match)):
        return Left(
            f"its mask {of_heads} differs from head to head, and the heads would have to be {parts} times as many"
        )
    return TrtRewritePlan(rank, dk, dv, size, parts, heads)


def _size(dk: int, dv: int, at_least: int) -> tuple[int, int] | None:
    """(head size, parts) with the fewest padded elements, the smallest such size; None when there is none."""
    first = max(_SMALLEST, -(-dk // _STEP) * _STEP)
    found = []
    for size in range(first, HEAD_SIZES[1] + 1, _STEP):
        parts = -(-dv // size)
        if parts >= at_least:
            found.append((size * parts, size, parts))
    best = min(found, default=None)
    return best[1:] if best is not None else None


def _split(match: Match, rank: int, dk: int, dv: int) -> TrtRewritePlan | Left:
    """One head at a batch of 1 whose values can't be dealt to two heads: deal the queries."""
    for name in beside(match):
        if not match.view.is_one_number(name):
            return Left(f"one head at a batch of 1, with the mask {name}; a batch of 2 or a dynamic batch fuses")
    length, _ = product_sizes(match.view, match.scores.node, match.scores.other)
    size = max(_SMALLEST, -(-max(dk, dv) // _STEP) * _STEP)
    return TrtRewritePlan(rank, dk, dv, size, 1, 1, length if isinstance(length, int) else "?")


def _problem(match: Match, rank: int) -> str:
    """What stands in the way of any rewrite; empty when nothing does."""
    view = match.view
    if rank > 4:
        return f"its scores have rank {rank}"
    if view.outer is not None:
        return "it lies in the body of an If or Loop"
    for product in (match.scores, match.values):
        if product.node.op_type != "MatMul":
            return f"it is written with {product.node.op_type}"
        if {len(view.shape(name) or ()) for name in product.node.input} != {rank}:
            return "its operands have different ranks"
    if rank == 4 and len({(view.shape(n) or "?" * 4)[1] for n in (match.queries, match.keys, match.value)}) > 1:
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
            perm = list(next(a.ints for a in node.attribute if a.name == "perm"))
            if perm[:-2] != list(range(rank - 2)):
                return f"Transpose {node.name} moves more than the last two axes"
    path = (match.scores.node, *match.above, match.softmax, *match.below)
    on_path = {id(node) for node in match.nodes}
    for node in path:
        if view.outputs.intersection(node.output):
            return f"{node.output[0]} is an output of the graph"
        for reader in view.consumers.get(node.output[0], []):
            if id(reader) not in on_path and not _only_washes(match, reader):
                return f"{node.output[0]} is read by {reader.op_type} {reader.name} too"
    for name in beside(match):
        known = view.shape(name)
        if known is None or len(known) > max(rank, 2):
            return f"nothing is known of the rank of {name}"
    return ""


def _only_washes(match: Match, reader: onnx.NodeProto) -> bool:
    """An IsNaN whose answer goes back into the block: rows without any key become 0."""
    on_path = {id(node) for node in match.nodes}
    readers = [r for name in reader.output for r in match.view.consumers.get(name, [])]
    return reader.op_type == "IsNaN" and all(id(r) in on_path for r in readers)


def beside(match: Match) -> list[str]:
    """What the nodes between the products read beside the scores: masks, scales, fills."""
    on_path = {name for node in match.nodes for name in node.output}
    washes = [r for name in on_path for r in match.view.consumers.get(name, []) if _only_washes(match, r)]
    washed = {name for node in washes for name in node.output}
    return [
        name
        for node in (*match.above, *match.below)
        for name in node.input
        if name and name not in on_path and name not in washed
    ]


def _masks_of_heads(match: Match) -> str:
    for name in beside(match):
        shape = match.view.shape(name) or ()
        if len(shape) >= 3 and shape[-3] != 1:
            return name
    return ""
