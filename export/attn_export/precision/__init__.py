"""Graphs in fewer bits: converted, and proven against PyTorch's answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .bisect_bundle import bisect
    from .conversion import CHECKED, add_precision, check_options, convert, convert_file, drawn_inputs
    from .half import Live, TypedGraph
    from .quantised import QuantiseOptions
    from .tensorrt_form import add_form, plain_form

__all__ = [
    "CHECKED",
    "Live",
    "QuantiseOptions",
    "TypedGraph",
    "add_form",
    "add_precision",
    "bisect",
    "check_options",
    "convert",
    "convert_file",
    "drawn_inputs",
    "plain_form",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "bisect_bundle": ["bisect"],
        "conversion": ["CHECKED", "add_precision", "check_options", "convert", "convert_file", "drawn_inputs"],
        "half": ["Live", "TypedGraph"],
        "quantised": ["QuantiseOptions"],
        "tensorrt_form": ["add_form", "plain_form"],
    },
)
