"""Models of other libraries as sources: saved by transformers, or known by name to timm and torchvision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .huggingface_models import load_huggingface
    from .surveyed import surveyed_models
    from .timm_models import load_timm
    from .torchvision_models import load_torchvision

__all__ = ["load_huggingface", "load_timm", "load_torchvision", "surveyed_models"]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "huggingface_models": ["load_huggingface"],
        "surveyed": ["surveyed_models"],
        "timm_models": ["load_timm"],
        "torchvision_models": ["load_torchvision"],
    },
)
