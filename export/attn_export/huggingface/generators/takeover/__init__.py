"""What of transformers is replaced while a view of a model runs: its cache, its masks, its attention, and how it counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .cache import Slot, Stretch, for_prompt, for_step, kept
    from .place import EachRow, Place, SlicedFrom
    from .replacement import last_only, taken_over

__all__ = [
    "EachRow",
    "Place",
    "SlicedFrom",
    "Slot",
    "Stretch",
    "for_prompt",
    "for_step",
    "kept",
    "last_only",
    "taken_over",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "cache": ["Slot", "Stretch", "for_prompt", "for_step", "kept"],
        "place": ["EachRow", "Place", "SlicedFrom"],
        "replacement": ["last_only", "taken_over"],
    },
)
