"""A bundle over the rows of whole tables and folders, on one machine or a Ray cluster: `attn_runtime.map_rows`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy import lazy

if TYPE_CHECKING:
    from .answers import TaskOptions
    from .mapping import MapReport, map_rows
    from .progress import Progress

__all__ = ["MapReport", "Progress", "TaskOptions", "map_rows"]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {"answers": ["TaskOptions"], "mapping": ["MapReport", "map_rows"], "progress": ["Progress"]},
)
