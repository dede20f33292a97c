"""From a bundle to what other machines and servers take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .bundle_maker import DeployedBundle, deploy_bundle
    from .folder import DeployFolder
    from .trt_engine import to_trt

__all__ = ["DeployFolder", "DeployedBundle", "deploy_bundle", "to_trt"]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "bundle_maker": ["DeployedBundle", "deploy_bundle"],
        "folder": ["DeployFolder"],
        "trt_engine": ["to_trt"],
    },
)
