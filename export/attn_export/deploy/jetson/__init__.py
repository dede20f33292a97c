"""A bundle into a folder that sets itself up on a Jetson board."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .folder_maker import Deployed, JetsonOptions, deploy_jetson

__all__ = ["Deployed", "JetsonOptions", "deploy_jetson"]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "folder_maker": ["Deployed", "JetsonOptions", "deploy_jetson"],
    },
)
