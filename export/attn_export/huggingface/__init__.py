"""Saved models of transformers: where they lie, which class they are, and their weights, read without running code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .generation_rules import generation_rules as rules_of_generation
    from .generation_rules import language_tokens
    from .saved_model import SavedModel

__all__ = ["SavedModel", "language_tokens", "rules_of_generation"]

# The module generation_rules would hide a function of its own name.
__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {"generation_rules": ["generation_rules as rules_of_generation", "language_tokens"], "saved_model": ["SavedModel"]},
)
