"""Processes that train together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .processes import Processes, joined_processes

__all__ = ["Processes", "joined_processes", "sharding"]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "processes": ["Processes", "joined_processes"],
    },
)
