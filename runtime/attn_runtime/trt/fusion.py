"""Which attention blocks an engine computes in one kernel, told from the build's own layer list.

A block is fused when one kernel of the multi-head-attention kind was made from its softmax and both its matmuls. Neither
the names of ONNX nodes nor the library's own notes of a "pattern found" say so. Why a block was not fused follows from
what docs/attention-survey.md found to fuse; where no rule holds, that is said too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..attention import AttentionBlock
from .layers import Layer

_KERNEL = re.compile(r"_ge(?:mm|mv)_mha")
#: head sizes that fuse, in elements; both ends were tried, and the next beyond them did not
HEAD_SIZES = (9, 256)
_HALF = ("float16", "bfloat16")

UNKNOWN = "unknown: the compiler declined"


@dataclass(frozen=True)
class BlockFusion:
    """`kernel` is the fused kernel's name, "" when there is none; then `why_not` and `cure` are not empty."""

    block: AttentionBlock
    fused: bool
    kernel: str
    why_not: str
    cure: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BlockFusion:
        return cls(
            AttentionBlock.from_json(data["block"]), data["fused"], data["kernel"], data["why_not"], data["cure"]
        )


def fusion(blocks: Sequence[AttentionBlock], layers: Sequence[Layer]) -> tuple[BlockFusion, ...]:
    """What became of each block in an engine made of `layers`, in the order of `blocks`."""
    return tuple(_one(block, layers) for block in blocks)


def _one(block: AttentionBlock, layers: Sequence[Layer]) -> BlockFusion:
    kernel = _fused_kernel(block, layers)
    if kernel is not None:
        return BlockFusion(block, True, kernel, "", "")
    why, cure = _why_not(block, layers)
    return BlockFusion(block, False, "", why, cure)


def _fused_kernel(block: AttentionBlock, layers: Sequence[Layer]) -> str | None:
    for layer in layers:
        if not _KERNEL.search(layer.tactic) and not _KERNEL.search(layer.name):
            continue
        inside = [node for node in block.nodes if node in layer.nodes]
        # A node that the compiler folded away leaves no trace in the list; one that runs elsewhere does.
        outside = [node for node in block.nodes if node not in layer.nodes and _runs(node, layers)]
        if inside and not outside and (len(inside) > 1 or len(block.nodes) == 1):
            return layer.tactic or layer.name
    return None


def _runs(node: str, layers: Sequence[Layer]) -> bool:
    return any(node in layer.nodes for layer in layers)


def _why_not(block: AttentionBlock, layers: Sequence[Layer]) -> tuple[str, str]:
    """(why the compiler did not fuse it, what would make it), by the first rule that holds."""
    if not layers:
        return "the build gave no list of layers", "build again with this version of attn-runtime"
    if block.dtype not in _HALF:
        return f"it computes in {block.dtype}", "--fp16 or --bf16: there are no fused kernels for other types"
    low, high = HEAD_SIZES
    if block.head_size is not None and block.value_size is not None and block.head_size != block.value_size:
        return (
            f"queries and keys have {block.head_size} elements, values {block.value_size}",
            "the pass attention, which the TensorRT files of a bundle go through: it views the values as several heads",
        )
    if block.head_size is not None and not low <= block.head_size <= high:
        return (
            f"a head of {block.head_size} elements; {low} to {high} fuse",
            "the pass attention pads small heads" if block.head_size < low else "more heads of a smaller size",
        )
    if block.heads == 1 and block.kv_heads == 1:
        return (
            "one head, and no axis of heads",
            "the pass attention, which adds one; or, where there is one, a batch of 2 or a dynamic batch",
        )
    if block.query_length == block.key_length == "1":
        return "one query and one key: there is nothing to fuse", "none needed"
    if block.operator != "MatMul":
        return (
            f"the operator {block.operator} was taken apart",
            "export with opset 22, which writes attention out in operators that fuse",
        )
    stray = _in_float(block, layers)
    if stray:
        return f"{stray} computes in float32", "its mask or its scale in the type of the scores"
    return UNKNOWN, "scripts/attention_survey.py shows what fuses with this version"


def _in_float(block: AttentionBlock, layers: Sequence[Layer]) -> str:
    """The node of the block that takes or gives float32 between half-precision products, "" when none does."""
    for node in (block.scores, block.values):
        for layer in layers:
            if node in layer.nodes and any(t.dtype == "float32" for t in (*layer.inputs, *layer.outputs)):
                return node
    return ""
