"""The models that are built in, for a list of them."""

from __future__ import annotations

from typing import Any

from attn_models import registry


def built_in_models() -> list[dict[str, Any]]:
    """Of each built-in model its name, task, summary, number of parameters, names of graphs, and the command that trains it,
    None where there is none."""
    return [_describe(name) for name in registry.names()]


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
