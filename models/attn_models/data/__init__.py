"""What the reference models are trained on: made from a seed, or shipped with a package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .headlines import CATEGORIES, words
    from .image_folder import export_command
    from .scans import LABELS, SIZE, draw
    from .stories import END, PAD, UNKNOWN, draw_stories, encode, lexicon, padded, tokenizer

__all__ = [
    "CATEGORIES",
    "END",
    "LABELS",
    "PAD",
    "SIZE",
    "UNKNOWN",
    "digits",
    "draw",
    "draw_stories",
    "encode",
    "export_command",
    "headlines",
    "image_folder",
    "lexicon",
    "padded",
    "tokenizer",
    "words",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "headlines": ["CATEGORIES", "words"],
        "image_folder": ["export_command"],
        "scans": ["LABELS", "SIZE", "draw"],
        "stories": ["END", "PAD", "UNKNOWN", "draw_stories", "encode", "lexicon", "padded", "tokenizer"],
    },
)
