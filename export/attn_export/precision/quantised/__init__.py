"""Quantised graphs: which products may be, measured; their weights rounded once; a file for each engine from the same numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .cpu_form import fits_cpu_form, write_cpu_form
    from .logarithms import before_logarithms
    from .options import QuantiseOptions
    from .parts import cut_products
    from .qdq import insert
    from .rounding import ROUNDINGS
    from .site_search import Aim, Point, Search, search
    from .sites import Site, find_sites
    from .speed import measure
    from .weights import Weights, has_moments, key, round_weights, weight_hash
    from .writer import save

__all__ = [
    "ROUNDINGS",
    "Aim",
    "Point",
    "QuantiseOptions",
    "Search",
    "Site",
    "Weights",
    "before_logarithms",
    "cut_products",
    "find_sites",
    "fits_cpu_form",
    "has_moments",
    "insert",
    "key",
    "measure",
    "round_weights",
    "save",
    "search",
    "weight_hash",
    "write_cpu_form",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "cpu_form": ["fits_cpu_form", "write_cpu_form"],
        "logarithms": ["before_logarithms"],
        "options": ["QuantiseOptions"],
        "parts": ["cut_products"],
        "qdq": ["insert"],
        "rounding": ["ROUNDINGS"],
        "site_search": ["Aim", "Point", "Search", "search"],
        "sites": ["Site", "find_sites"],
        "speed": ["measure"],
        "weights": ["Weights", "has_moments", "key", "round_weights", "weight_hash"],
        "writer": ["save"],
    },
)
