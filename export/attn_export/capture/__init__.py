"""An nn.Module becomes an ONNX file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .deferred import explained, sizes_to_ask
    from .dropped_guards import Branch
    from .exporter import EXPORTERS, capture, check_opset
    from .size_one import explained_at_one
    from .tracing import RulesRefused

__all__ = [
    "EXPORTERS",
    "Branch",
    "RulesRefused",
    "capture",
    "check_opset",
    "explained",
    "explained_at_one",
    "sizes_to_ask",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "deferred": ["explained", "sizes_to_ask"],
        "dropped_guards": ["Branch"],
        "exporter": ["EXPORTERS", "capture", "check_opset"],
        "size_one": ["explained_at_one"],
        "tracing": ["RulesRefused"],
    },
)
