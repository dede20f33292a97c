"""Strongly typed graphs in half precision: made by AutoCast, their element types told, their rounding emulated in fp32."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .autocast import (
        MAX_BYTES,
        WARM_UP,
        Cast,
        HalfType,
        computes,
        nodes_in_fp32,
        read_cast,
        require_autocast,
        to_half,
    )
    from .bodies import bodies_of, has_bodies, readers_of, reads
    from .element_types import HALVES, TensorTypes, tensor_types
    from .emulation import ENTERED, HALVED, MOVES, emulate
    from .float8 import round_by_casts

__all__ = [
    "ENTERED",
    "HALVED",
    "HALVES",
    "MAX_BYTES",
    "MOVES",
    "WARM_UP",
    "Cast",
    "HalfType",
    "TensorTypes",
    "bodies_of",
    "computes",
    "emulate",
    "has_bodies",
    "nodes_in_fp32",
    "read_cast",
    "readers_of",
    "reads",
    "require_autocast",
    "round_by_casts",
    "tensor_types",
    "to_half",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "autocast": [
            "MAX_BYTES",
            "WARM_UP",
            "Cast",
            "HalfType",
            "computes",
            "nodes_in_fp32",
            "read_cast",
            "require_autocast",
            "to_half",
        ],
        "bodies": ["bodies_of", "has_bodies", "readers_of", "reads"],
        "element_types": ["HALVES", "TensorTypes", "tensor_types"],
        "emulation": ["ENTERED", "HALVED", "MOVES", "emulate"],
        "float8": ["round_by_casts"],
    },
)
