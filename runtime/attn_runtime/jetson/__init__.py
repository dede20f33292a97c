"""Jetson boards: what each can run, and the setup that builds, proves and times a bundle on one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy

if TYPE_CHECKING:
    from .boards import Board, Release, find_board, refuse, release_for
    from .deploy_manifest import ORDER, PART, Order
    from .setup import PAGE, REPORT, SetupOptions, require, set_up, summary_line

__all__ = [
    "ORDER",
    "PAGE",
    "PART",
    "REPORT",
    "Board",
    "Order",
    "Release",
    "SetupOptions",
    "find_board",
    "refuse",
    "release_for",
    "require",
    "set_up",
    "summary_line",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "boards": ["Board", "Release", "find_board", "refuse", "release_for"],
        "deploy_manifest": ["ORDER", "Order", "PART"],
        "setup": ["PAGE", "REPORT", "SetupOptions", "require", "set_up", "summary_line"],
    },
)
