"""An nn.Module becomes an ONNX file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .exporter import EXPORTERS, capture, check_opset, unused_inputs

__all__ = ["EXPORTERS", "capture", "check_opset", "unused_inputs"]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "exporter": ["EXPORTERS", "capture", "check_opset", "unused_inputs"],
    },
)
