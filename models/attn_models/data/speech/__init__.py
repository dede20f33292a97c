"""Spoken words: synthesised once, stored, and split for training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .espeak import LABELS, SAMPLE_RATE, SAMPLES

__all__ = ["LABELS", "SAMPLES", "SAMPLE_RATE", "splits"]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "espeak": ["LABELS", "SAMPLES", "SAMPLE_RATE"],
    },
)
