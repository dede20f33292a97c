"""Models that timm and torchvision know by name: their module, sizes, preprocessing, labels, and weights that lie here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .timm_models import load_timm
    from .torchvision_models import load_torchvision

__all__ = ["load_timm", "load_torchvision"]

__getattr__, __dir__ = lazy(
    __name__, __all__, {"timm_models": ["load_timm"], "torchvision_models": ["load_torchvision"]}
)
