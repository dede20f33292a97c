"""What is asked of a model of texts, as one public call each: embeddings, entities, answers, words left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy import lazy

if TYPE_CHECKING:
    from .answering import Answer, Answers, answer
    from .embedding import Embedding, Embeddings, embed
    from .filling import Filled, Filling, Word, fill
    from .rows import TextRow, all_texts, check_inputs, read_texts, row_batches, run_rows
    from .tagging import Entity, Tagged, Tagging, tag

__all__ = [
    "Answer",
    "Answers",
    "Embedding",
    "Embeddings",
    "Entity",
    "Filled",
    "Filling",
    "Tagged",
    "Tagging",
    "TextRow",
    "Word",
    "all_texts",
    "answer",
    "check_inputs",
    "embed",
    "fill",
    "read_texts",
    "row_batches",
    "run_rows",
    "tag",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "answering": ["Answer", "Answers", "answer"],
        "embedding": ["Embedding", "Embeddings", "embed"],
        "filling": ["Filled", "Filling", "Word", "fill"],
        "rows": ["TextRow", "all_texts", "check_inputs", "read_texts", "row_batches", "run_rows"],
        "tagging": ["Entity", "Tagged", "Tagging", "tag"],
    },
)
