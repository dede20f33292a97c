"""The one order of an export: ask PyTorch, capture, check, then pass by pass with a check after each, write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .model_export import ExportResult, export
    from .types import ExportOptions

__all__ = ["ExportOptions", "ExportResult", "export"]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "model_export": ["ExportResult", "export"],
        "types": ["ExportOptions"],
    },
)
