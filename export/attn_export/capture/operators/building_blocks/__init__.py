"""What the forms of operators are made of: calls, constants of the graph, and sizes that are exact at every value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .form import (
        MOST_CONSTANTS,
        Call,
        Form,
        arguments,
        as_tensor,
        constant,
        count_to,
        function_of,
        moved_on,
        quotient,
        start_of,
        value,
    )
    from .sizes import MOST_PIECES, CanNotWrite, Piece, Size, bounds, joined, pieces

__all__ = [
    "MOST_CONSTANTS",
    "MOST_PIECES",
    "Call",
    "CanNotWrite",
    "Form",
    "Piece",
    "Size",
    "arguments",
    "as_tensor",
    "bounds",
    "constant",
    "count_to",
    "function_of",
    "joined",
    "moved_on",
    "pieces",
    "quotient",
    "start_of",
    "value",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "form": [
            "MOST_CONSTANTS",
            "Call",
            "Form",
            "arguments",
            "as_tensor",
            "constant",
            "count_to",
            "function_of",
            "moved_on",
            "quotient",
            "start_of",
            "value",
        ],
        "sizes": ["MOST_PIECES", "CanNotWrite", "Piece", "Size", "bounds", "joined", "pieces"],
    },
)
