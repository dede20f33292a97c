"""From a bundle to what other machines and servers take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .folder import DeployFolder
    from .trt_engine import to_trt

__all__ = ["DeployFolder", "to_trt"]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "folder": ["DeployFolder"],
        "trt_engine": ["to_trt"],
    },
)
