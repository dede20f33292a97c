"""What a precision does to the tensors inside a graph: their magnitudes, how far they are from another form's, and what
each node's rounding does to the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .activations import STANDS_FOR_INFINITY, Spread, compare_intermediates, probe, ranges
    from .sensitivity import Sensitivity, in_source, measure_sensitivity, tensor_names

__all__ = [
    "STANDS_FOR_INFINITY",
    "Sensitivity",
    "Spread",
    "compare_intermediates",
    "in_source",
    "measure_sensitivity",
    "probe",
    "ranges",
    "tensor_names",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "activations": ["STANDS_FOR_INFINITY", "Spread", "compare_intermediates", "probe", "ranges"],
        "sensitivity": ["Sensitivity", "in_source", "measure_sensitivity", "tensor_names"],
    },
)
