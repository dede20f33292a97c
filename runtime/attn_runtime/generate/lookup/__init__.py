"""Guesses of what a row goes on with, by what it and its source have already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy import lazy

if TYPE_CHECKING:
    from .drafts import Drafts, drafts_of, together

__all__ = ["Drafts", "drafts_of", "together"]

__getattr__, __dir__ = lazy(__name__, __all__, {"drafts": ["Drafts", "drafts_of", "together"]})
