"""A model that transformers' save_pretrained wrote, as a module with declared inputs and everything its users need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .generation_rules import language_tokens

__all__ = ["language_tokens"]

__getattr__, __dir__ = lazy(__name__, __all__, {"generation_rules": ["language_tokens"]})
