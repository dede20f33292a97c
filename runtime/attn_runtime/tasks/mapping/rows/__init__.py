"""Rows on their way in: found, read a part at a time, and what could not be read told row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....lazy import lazy

if TYPE_CHECKING:
    from .columns import Kept, Layout, Need, arrow_type, read_columns, read_kept
    from .parts import ERROR, Done, Part, Place, from_bytes, to_bytes
    from .sources import Source, find_sources, read_all
    from .tables import FILE, NEED, array_of

__all__ = [
    "ERROR",
    "FILE",
    "NEED",
    "Done",
    "Kept",
    "Layout",
    "Need",
    "Part",
    "Place",
    "Source",
    "array_of",
    "arrow_type",
    "find_sources",
    "from_bytes",
    "read_all",
    "read_columns",
    "read_kept",
    "to_bytes",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "columns": ["Kept", "Layout", "Need", "arrow_type", "read_columns", "read_kept"],
        "parts": ["ERROR", "Done", "Part", "Place", "from_bytes", "to_bytes"],
        "sources": ["Source", "find_sources", "read_all"],
        "tables": ["FILE", "NEED", "array_of"],
    },
)
