"""Write token by token with the graphs of a bundle: encoder-decoder and decoder-only models, on any backend.

options          what is asked for: length, beams, sampling, stop tokens
settings         the same with the bundle's defaults
rules            which tokens may come next, and what repeating one costs
greedy           one answer a row: the likeliest token each time
sampling         or a drawn one
beam             several answers a row are followed, and the best is kept
topk             the largest of many, in an order of its own
generator        `open_generator`; prompts in, tokens out
text_generation  the same from text to text
recorded_cases   what PyTorch generated when the bundle was made
verify           the same, here
serving          requests that join and leave while others are written
graphs           the graphs that take the steps, bound to the buffers that they share
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy

if TYPE_CHECKING:
    from .generator import Generator, open_generator
    from .options import GenerateOptions, Sample, known_options
    from .recorded_cases import GeneratedCase, generated_cases
    from .result import Followed, Generated
    from .serving import Request, RequestLimits
    from .settings import Settings
    from .text_generation import TextAnswers, generate_texts
    from .verify import Replayed, replay

__all__ = [
    "Followed",
    "GenerateOptions",
    "Generated",
    "GeneratedCase",
    "Generator",
    "Replayed",
    "Request",
    "RequestLimits",
    "Sample",
    "Settings",
    "TextAnswers",
    "generate_texts",
    "generated_cases",
    "known_options",
    "open_generator",
    "replay",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "generator": ["Generator", "open_generator"],
        "options": ["GenerateOptions", "Sample", "known_options"],
        "recorded_cases": ["GeneratedCase", "generated_cases"],
        "result": ["Followed", "Generated"],
        "serving": ["Request", "RequestLimits"],
        "settings": ["Settings"],
        "text_generation": ["TextAnswers", "generate_texts"],
        "verify": ["Replayed", "replay"],
    },
)
