"""From a bundle to what other machines and servers take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .bundle_maker import DeployedBundle, deploy_bundle
    from .folder import DeployFolder
    from .trt_engine import to_trt
    from .wheel_files import build_runtime_wheel, build_wheel, run_command, runtime_wheel

__all__ = [
    "DeployFolder",
    "DeployedBundle",
    "build_runtime_wheel",
    "build_wheel",
    "deploy_bundle",
    "run_command",
    "runtime_wheel",
    "to_trt",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "bundle_maker": ["DeployedBundle", "deploy_bundle"],
        "folder": ["DeployFolder"],
        "wheel_files": ["build_runtime_wheel", "build_wheel", "run_command", "runtime_wheel"],
        "trt_engine": ["to_trt"],
    },
)
