"""Which attention blocks an engine computes in one kernel, told from the build's own layer list.

A block is fused when one kernel of the multi-head-attention kind was made from its softmax and both its matmuls. Neither
the names of ONNX nodes nor the library's own notes of a "pattern found" say so. Why a block was not fused follows from
what docs/attention/survey.md found to fuse; where no rule holds, that is said too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..bundle import AttentionBlock
from .layers import Layer

_KERNEL = re.compile(r"_ge(?:mm|mv)_mha|fmha")
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
    if not any(_runs(node, layers) for node in block.nodes):
        return "none of its nodes is in the engine's list of layers", "build the engine of the file that has the block"
    if (in_float := _in_float(block, layers)) is not None:
        return in_float
    why = _shape_problem(block)
    if block.operator != "MatMul":
        written_out = (
            "export with opset 22, which writes attention out in operators; the pass attention can rewrite those"
        )
        return why or f"{UNKNOWN} the operator {block.operator}", written_out
    if why:
        return why, _shape_cure(block)
    return UNKNOWN, "scripts/attention_survey/survey.py shows what this version fuses"


def _in_float(block: AttentionBlock, layers: Sequence[Layer]) -> tuple[str, str] | None:
    """The rule of precision: both products must be in half precision; the softmax between them need not."""
    wider = {
        node
        for node in (block.scores, block.values)
        for layer in layers
        if node in layer.nodes and any(tensor.dtype == "float32" for tensor in layer.inputs)
    }
    if block.dtype in _HALF and not wider:
        return None
    if not any(tensor.dtype in _HALF for layer in layers for tensor in layer.outputs):
        return f"it computes in {block.dtype}", "--fp16 or --bf16: there are fused kernels for these alone"
    kept = block.scores if block.dtype not in _HALF else sorted(wider)[0]
    return (
        f"{kept} computes in float32",
        "both products in half precision: smaller scores (scale the queries before the product), or --bf16, "
        "which has float32's range",
    )


def _shape_problem(block: AttentionBlock) -> str:
    low, high = HEAD_SIZES
    dk, dv = block.head_size, block.value_size
    if dk is not None and dv is not None and dk != dv:
        return f"keys have {dk} elements, values {dv}"
    if dk is not None and not low <= dk <= high:
        return f"a head has {dk} elements; {low} to {high} fuse"
    if block.heads == 1:
        return "one head"
    if block.query_length == block.key_length == "1":
        return "one query and one key"
    if block.joined:
        return "its softmax runs over the scores of the cache and of the new token together"
    return ""


def _shape_cure(block: AttentionBlock) -> str:
    _, high = HEAD_SIZES
    if block.head_size is not None and block.head_size > high:
        return "more and smaller heads"
    if block.query_length == block.key_length == "1":
        return "none is needed: there is nothing to fuse"
    if block.joined:
        return "none: one tensor of keys would be a copy of the cache at each step"
    if block.heads == 1 and block.head_size == block.value_size:
        return "the pass attention, which to-trt runs unless it is skipped; or a second head, or a dynamic batch"
    return "the pass attention, which to-trt runs unless it is skipped"
