"""An ONNX file, read without onnx."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy

if TYPE_CHECKING:
    from .declared import declared_specs
    from .external_data import check_external_data, external_ranges
    from .graph import METADATA_KEY, Node, OnnxGraph, read_graph

__all__ = [
    "METADATA_KEY",
    "Node",
    "OnnxGraph",
    "check_external_data",
    "declared_specs",
    "external_ranges",
    "read_graph",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "declared": ["declared_specs"],
        "external_data": ["check_external_data", "external_ranges"],
        "graph": ["METADATA_KEY", "Node", "OnnxGraph", "read_graph"],
    },
)
