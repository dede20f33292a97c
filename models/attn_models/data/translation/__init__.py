"""English sentences with their French translations, written by a grammar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .text import BEGIN, END, LONGEST, PAD

__all__ = ["BEGIN", "END", "LONGEST", "PAD", "text"]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "text": ["BEGIN", "END", "LONGEST", "PAD"],
    },
)
