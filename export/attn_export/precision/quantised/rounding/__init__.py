"""Weights as integers or 8-bit floats with scales, rounded by one of several methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .blocks import ROUNDINGS, Blocks, best_rounding, fp8, quantise

__all__ = ["ROUNDINGS", "Blocks", "best_rounding", "fp8", "quantise"]

__getattr__, __dir__ = lazy(__name__, __all__, {"blocks": ["ROUNDINGS", "Blocks", "best_rounding", "fp8", "quantise"]})
