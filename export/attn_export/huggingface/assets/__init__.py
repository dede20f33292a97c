"""What a bundle keeps of a folder, for its users: tokenizer, labels, licence, how a picture becomes the input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .answer_text import as_tokenizer_json, tokenizer_that_writes
    from .image import image_assets, image_size
    from .image_processor import difference, drawn_pictures
    from .labels import label_assets
    from .model_card import licence
    from .text import text_assets

__all__ = [
    "as_tokenizer_json",
    "difference",
    "drawn_pictures",
    "image_assets",
    "image_size",
    "label_assets",
    "licence",
    "text_assets",
    "tokenizer_that_writes",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "answer_text": ["as_tokenizer_json", "tokenizer_that_writes"],
        "image": ["image_assets", "image_size"],
        "image_processor": ["difference", "drawn_pictures"],
        "labels": ["label_assets"],
        "model_card": ["licence"],
        "text": ["text_assets"],
    },
)
