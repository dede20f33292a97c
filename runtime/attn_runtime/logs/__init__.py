"""Records of what is done and why, through Python's logging; the file that a command line writes them to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy

if TYPE_CHECKING:
    from .log import Log
    from .log_file import LEVELS, close_log, open_log, open_log_of_parent

__all__ = ["LEVELS", "Log", "close_log", "open_log", "open_log_of_parent"]

__getattr__, __dir__ = lazy(
    __name__, __all__, {"log": ["Log"], "log_file": ["LEVELS", "close_log", "open_log", "open_log_of_parent"]}
)
