"""Attention in a graph: where it is, of what kind, and what it must become so that TensorRT fuses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .blocks import find_blocks, written_out
    from .inspection import InspectedEngine, InspectedFile, inspect, require_engines, require_fused
    from .match import matches
    from .rewrite import Rewriter, opset_problem
    from .trt_plan import Unchanged, plan

__all__ = [
    "InspectedEngine",
    "InspectedFile",
    "Rewriter",
    "Unchanged",
    "find_blocks",
    "inspect",
    "matches",
    "opset_problem",
    "plan",
    "require_engines",
    "require_fused",
    "written_out",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "blocks": ["find_blocks", "written_out"],
        "inspection": ["InspectedEngine", "InspectedFile", "inspect", "require_engines", "require_fused"],
        "match": ["matches"],
        "rewrite": ["Rewriter", "opset_problem"],
        "trt_plan": ["Unchanged", "plan"],
    },
)
