"""The models that are built in, and lists of models."""

from __future__ import annotations

from typing import Any

from attn_models import registry
from attn_runtime.errors import UsageError

from .library_models import surveyed_models


def built_in_models() -> list[dict[str, Any]]:
    """Of each built-in model its name, task, summary, number of parameters, names of graphs, and the command that trains it,
    None where there is none."""
    return [_describe(name) for name in registry.names()]


def list_models(library: str | None = None, word: str | None = None) -> Any:
    """`built_in_models`, or `surveyed_models` of a `library`, "transformers" or "timm", those with `word` in their names.

    Raises UsageError for a word without a library, and for one that no surveyed model has.
    """
    if library is not None:
        return surveyed_models(library, word or "")
    if word is not None:
        raise UsageError(f"{word}: a word chooses among surveyed models; add --hf or --timm")
    return built_in_models()


def _describe(name: str) -> dict[str, Any]:
    spec = registry.get(name)
    return {
        "name": spec.name,
        "task": spec.task,
        "summary": spec.summary,
        "parameters": sum(p.numel() for p in spec.build().parameters()),
        "graphs": [graph.name for graph in spec.graphs],
        "train": f"python -m attn_models.train {name}" if spec.recipe else None,
    }
