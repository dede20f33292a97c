"""Saved models that do not generate, as one graph: inputs with ranges, outputs of the task, pooling and towers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .graphs import examples_of, graphs_of
    from .inputs import inputs_of
    from .pooling import is_sentence_transformer, load_sentence_transformer, note_scores
    from .towers import TOWERS

__all__ = [
    "TOWERS",
    "examples_of",
    "graphs_of",
    "inputs_of",
    "is_sentence_transformer",
    "load_sentence_transformer",
    "note_scores",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "graphs": ["examples_of", "graphs_of"],
        "inputs": ["inputs_of"],
        "pooling": ["is_sentence_transformer", "load_sentence_transformer", "note_scores"],
        "towers": ["TOWERS"],
    },
)
