"""The graphs of a generator, bound to the buffers that they share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy import lazy

if TYPE_CHECKING:
    from .buffers import Memory, memory_of
    from .generation_rules import GenerationRules
    from .graph_io import GraphIO
    from .prompt_slices import PromptSlices
    from .slots import Shapes, Slots
    from .step_graphs import Plans, Sessions, Shape, StepGraphs

__all__ = [
    "GenerationRules",
    "GraphIO",
    "Memory",
    "Plans",
    "PromptSlices",
    "Sessions",
    "Shape",
    "Shapes",
    "Slots",
    "StepGraphs",
    "memory_of",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "buffers": ["Memory", "memory_of"],
        "generation_rules": ["GenerationRules"],
        "graph_io": ["GraphIO"],
        "prompt_slices": ["PromptSlices"],
        "slots": ["Shapes", "Slots"],
        "step_graphs": ["Plans", "Sessions", "Shape", "StepGraphs"],
    },
)
