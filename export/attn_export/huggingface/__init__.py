"""Saved models of transformers: where they lie, which class they are, and their weights, read without running code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .configuration import configs_of, model_folder
    from .find import PREFIX, find_model
    from .generation_rules import generation_rules as rules_of_generation
    from .generation_rules import language_tokens
    from .kind import TASKS, Kind, body_of, kind_of, tag_of
    from .library import words_of
    from .loaded_model import LoadedModel
    from .provenance import provenance_of
    from .rounding import measured_tolerance
    from .saved_model import SavedModel, inside, read_value
    from .weights import Weights, load_weights

__all__ = [
    "PREFIX",
    "TASKS",
    "Kind",
    "LoadedModel",
    "SavedModel",
    "Weights",
    "body_of",
    "configs_of",
    "find_model",
    "inside",
    "kind_of",
    "language_tokens",
    "load_weights",
    "measured_tolerance",
    "model_folder",
    "provenance_of",
    "read_value",
    "rules_of_generation",
    "tag_of",
    "words_of",
]

# The module generation_rules would hide a function of its own name.
__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "configuration": ["configs_of", "model_folder"],
        "find": ["PREFIX", "find_model"],
        "generation_rules": ["generation_rules as rules_of_generation", "language_tokens"],
        "kind": ["TASKS", "Kind", "body_of", "kind_of", "tag_of"],
        "library": ["words_of"],
        "loaded_model": ["LoadedModel"],
        "provenance": ["provenance_of"],
        "rounding": ["measured_tolerance"],
        "saved_model": ["SavedModel", "inside", "read_value"],
        "weights": ["Weights", "load_weights"],
    },
)
