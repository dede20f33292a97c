"""What a precision does to the tensors inside a graph: their magnitudes, how far they are from another form's, and what
each node's rounding does to the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .activations import Spread, compare_intermediates, probe, ranges
    from .bisection import Bisection, Step, compare_graphs, limit_text, precision_of, short
    from .masked_places import STANDS_FOR_INFINITY
    from .sensitivity import Sensitivity, in_source, measure_sensitivity, tensor_names

__all__ = [
    "STANDS_FOR_INFINITY",
    "Bisection",
    "Sensitivity",
    "Spread",
    "Step",
    "compare_graphs",
    "compare_intermediates",
    "in_source",
    "limit_text",
    "measure_sensitivity",
    "precision_of",
    "probe",
    "ranges",
    "short",
    "tensor_names",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "activations": ["Spread", "compare_intermediates", "probe", "ranges"],
        "bisection": ["Bisection", "Step", "compare_graphs", "limit_text", "precision_of", "short"],
        "masked_places": ["STANDS_FOR_INFINITY"],
        "sensitivity": ["Sensitivity", "in_source", "measure_sensitivity", "tensor_names"],
    },
)
