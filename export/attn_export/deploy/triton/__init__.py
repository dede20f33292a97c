"""A bundle into a Triton model repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .repository_maker import TritonModel, TritonOptions, deploy_triton

__all__ = ["TritonModel", "TritonOptions", "deploy_triton"]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "repository_maker": ["TritonModel", "TritonOptions", "deploy_triton"],
    },
)
