"""What a bundle keeps of a saved model's folder: tokenizer, labels, licence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .labels import label_assets
    from .model_card import licence
    from .text import text_assets

__all__ = ["label_assets", "licence", "text_assets"]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {"labels": ["label_assets"], "model_card": ["licence"], "text": ["text_assets"]},
)
