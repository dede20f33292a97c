"""Conversion to half precision: what must stay in fp32 is searched for, and the typed graph that holds is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .always_fp32 import by_kind
    from .fp32_search import Candidate, Conversion, NodeConsumers, SearchResult, candidate, judge, plain, search, start
    from .further_cases import Further, FurtherCases, Live, extended, hold, of_bundle
    from .typed_graph import TypedGraph, convert_graph, for_tensorrt

__all__ = [
    "Candidate",
    "Conversion",
    "Further",
    "FurtherCases",
    "Live",
    "NodeConsumers",
    "SearchResult",
    "TypedGraph",
    "by_kind",
    "candidate",
    "convert_graph",
    "extended",
    "for_tensorrt",
    "hold",
    "judge",
    "of_bundle",
    "plain",
    "search",
    "start",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "always_fp32": ["by_kind"],
        "fp32_search": [
            "Candidate",
            "Conversion",
            "NodeConsumers",
            "SearchResult",
            "candidate",
            "judge",
            "plain",
            "search",
            "start",
        ],
        "further_cases": ["Further", "FurtherCases", "Live", "extended", "hold", "of_bundle"],
        "typed_graph": ["TypedGraph", "convert_graph", "for_tensorrt"],
    },
)
