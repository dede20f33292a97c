"""The cells of the attention survey, by section, each with what was known of it before the survey was first run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[2] / "tests"))
from support.graphs.attention_cells import MASKS, Cell

#: head sizes that were tried before, at 8 heads and 1024 positions
_FUSED_SIZES = (10, 16, 24, 32, 40, 48, 64, 72, 80, 96, 100, 128, 160, 192, 256)
_UNFUSED_SIZES = (1, 4, 8, 257, 264, 320, 512)
_NEW_SIZES = (9, 255)
_UNEQUAL = ((8, 64), (16, 32), (16, 128), (32, 64), (32, 256), (64, 32), (64, 128), (128, 64), (192, 128))


def cell(title: str, expected: str = "", in_float32: str = "", **fields: Any) -> Cell:
    return Cell(title, expected=expected, in_float32=frozenset(in_float32.split()), **fields)


def sections(quick: bool = False) -> dict[str, list[Cell]]:
    """Section -> cells. `quick` gives a few that every kind of answer comes from."""
    if quick:
        return {
            "Types": [cell("float32", "unfused", dtype="float32"), cell("float16", "fused")],
            "Sizes": [cell("Dk 32, Dv 64", "unfused", size=32, value_size=64)],
            "Operators": [cell("Attention, 1 head", "refused", form="Attention", heads=1)],
        }
    dynamic: dict[str, Any] = {"batch": 0, "queries": 0}
    return {
        "Types": [
            cell("float32", "unfused", dtype="float32"),
            cell("float16", "fused"),
            cell("bfloat16", "fused", dtype="bfloat16"),
        ],
        "Batch and heads": [
            cell("batch 1, 1 head", "unfused", heads=1),
            cell("batch 1, 1 head, dynamic length", heads=1, queries=0),
            cell("batch 1, 2 heads", "fused", heads=2),
            cell("batch 2, 1 head", "fused", heads=1, batch=2),
            cell("dynamic batch, 1 head", "fused", heads=1, batch=0),
            cell("dynamic batch, 8 heads", "fused", batch=0),
            cell("dynamic batch and length, 8 heads", "fused", **dynamic),
        ],
        "No axis of heads (rank 3), or heads folded into the batch": [
            cell("rank 3, batch 1", "unfused", form="3d"),
            cell("rank 3, batch 8", "unfused", form="3d", batch=8),
            cell("rank 3, batch 8, no scale", form="3d", batch=8, scale="none"),
            cell("rank 3, batch 8, between linear layers", form="3d", batch=8, projected=True),
            cell("rank 3, dynamic batch", "unfused", form="3d", batch=0),
            cell("rank 3, dynamic batch, no scale", form="3d", batch=0, scale="none"),
            cell("rank 3, dynamic batch, between linear layers", form="3d", batch=0, projected=True),
            cell("rank 3, dynamic batch and length, between linear layers", form="3d", projected=True, **dynamic),
            cell("8 heads folded, batch 1", "fused", form="bmm"),
            cell("8 heads folded, dynamic batch", form="bmm", batch=0),
            cell("1 head folded, dynamic batch", form="bmm", batch=0, heads=1),
        ],
        "Head size, Dk = Dv": [
            cell(f"{n}", "fused" if n in _FUSED_SIZES else "unfused" if n in _UNFUSED_SIZES else "", size=n)
            for n in sorted(_FUSED_SIZES + _UNFUSED_SIZES + _NEW_SIZES)
        ],
        "Dk and Dv differ": [
            *(cell(f"Dk {k}, Dv {v}", "unfused", size=k, value_size=v) for k, v in _UNEQUAL),
            cell("as SAGAN and AttentionNet: Dk 32, Dv 256, values on the left", "unfused", form="columns", batch=8,
                 size=32, value_size=256, scale="none"),
            cell("the same, dynamic batch", "unfused", form="columns", batch=0, size=32, value_size=256, scale="none"),
        ],
        "Where the scale stands": [
            cell(place, "fused", scale=place) for place in ("query", "both", "after", "divided", "none")
        ],
        "Parts in float32, the rest in float16": [
            cell("softmax", "fused", "softmax"),
            cell("scale and softmax", "", "mask softmax", scale="after"),
            cell("additive mask and softmax", "", "mask softmax", mask="add [1,1,S,S]"),
            cell("bool mask and softmax", "", "mask softmax", mask="bool where"),
            cell("constant causal mask and softmax", "fused", "mask softmax", mask="causal constant"),
            cell("scores matmul", "unfused", "scores"),
            cell("scores matmul and softmax", "unfused", "scores softmax"),
            cell("values matmul", "unfused", "values"),
            cell("softmax and values matmul", "unfused", "softmax values"),
            cell("all", "unfused", "scores mask softmax values"),
        ],
        "Mask": [
            cell(mask, "" if mask in ("bool add", "bool, empty rows") else "fused", mask=mask)
            for mask in MASKS if mask != "add [B,S,S]"
        ],
        "Mask, dynamic batch and length": [
            cell(mask, mask=mask, **dynamic) for mask in MASKS if mask not in ("add [B,S,S]", "causal constant")
        ],
        "8 heads of queries, fewer of keys and values (Expand and Reshape)": [
            *(cell(f"{n}", "fused", kv_heads=n) for n in (4, 2, 1)),
            cell("2, dynamic batch and length", kv_heads=2, **dynamic),
        ],
        "Length": [
            *(cell(f"{n}", "fused" if n >= 16 else "", queries=n) for n in (2, 7, 16, 49, 64, 77, 197, 577, 1024, 4096)),
            cell("1024 queries, 77 keys", "fused", keys=77),
            cell("1 query, 1024 keys", "fused", queries=1, keys=1024),
            cell("1 query, 1 key", "unfused", queries=1),
        ],
        "Other ways of writing it": [
            cell("Einsum", form="einsum"),
            cell("MultiHeadAttention of com.microsoft, float16", "fused", form="MultiHeadAttention"),
            cell("MultiHeadAttention of com.microsoft, float32", form="MultiHeadAttention", dtype="float32"),
            cell("MultiHeadAttention of com.microsoft, dynamic", form="MultiHeadAttention", **dynamic),
        ],
        "The operator Attention (opset 23), which must fuse or the build fails": [
            cell("float16", "fused", form="Attention"),
            cell("bfloat16", "fused", form="Attention", dtype="bfloat16"),
            cell("float32", "refused", form="Attention", dtype="float32"),
            cell("dynamic batch and length", "fused", form="Attention", **dynamic),
            cell("causal", "fused", form="Attention", mask="causal"),
            cell("additive mask", "fused", form="Attention", mask="add [1,1,S,S]"),
            cell("additive mask [B,1,1,S]", form="Attention", mask="add [B,1,1,S]"),
            cell("bool mask", "fused", form="Attention", mask="bool where"),
            cell("8 heads, 2 of keys and values", "fused", form="Attention", kv_heads=2),
            cell("77 keys", "fused", form="Attention", keys=77),
            cell("batch 1, 1 head", "refused", form="Attention", heads=1),
            *(cell(f"head size {n}", "refused" if n in (8, 320) else "fused", form="Attention", size=n)
              for n in (8, 16, 256, 320)),
            cell("Dk 32, Dv 64", "refused", form="Attention", size=32, value_size=64),
        ],
    }  # fmt: skip
