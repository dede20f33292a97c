"""What is asked of a model of texts, as one public call each: embeddings, entities, answers, words left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy import lazy

if TYPE_CHECKING:
    from .answering import Answer, Answers, answer
    from .embedding import POOLINGS, Embedding, Embeddings, embed, embedding_output, pooled
    from .filling import Filled, Filling, Word, fill
    from .rows import (
        TextRow,
        all_texts,
        check_inputs,
        expect_finite,
        output_of,
        read_texts,
        row_batches,
        run_rows,
        softmax,
    )
    from .tagging import Entity, Tagged, Tagging, entities_of, tag

__all__ = [
    "POOLINGS",
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
    "embedding_output",
    "entities_of",
    "expect_finite",
    "fill",
    "output_of",
    "pooled",
    "read_texts",
    "row_batches",
    "run_rows",
    "softmax",
    "tag",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "answering": ["Answer", "Answers", "answer"],
        "embedding": ["POOLINGS", "Embedding", "Embeddings", "embed", "embedding_output", "pooled"],
        "filling": ["Filled", "Filling", "Word", "fill"],
        "rows": [
            "TextRow",
            "all_texts",
            "check_inputs",
            "expect_finite",
            "output_of",
            "read_texts",
            "row_batches",
            "run_rows",
            "softmax",
        ],
        "tagging": ["Entity", "Tagged", "Tagging", "entities_of", "tag"],
    },
)
