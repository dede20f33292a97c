"""Open a graph on the best backend of this machine, and run it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy

if TYPE_CHECKING:
    from .backend_choice import candidates
    from .batching import batches
    from .curves import latency_curves, remember_curve
    from .measured import check_writable, remember
    from .opening import check_open, open_session
    from .run_report import RunReport, ran
    from .session import BoundCall, Session

__all__ = [
    "BoundCall",
    "RunReport",
    "Session",
    "batches",
    "candidates",
    "check_open",
    "check_writable",
    "latency_curves",
    "open_session",
    "ran",
    "remember",
    "remember_curve",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "backend_choice": ["candidates"],
        "batching": ["batches"],
        "curves": ["latency_curves", "remember_curve"],
        "measured": ["check_writable", "remember"],
        "opening": ["check_open", "open_session"],
        "run_report": ["RunReport", "ran"],
        "session": ["BoundCall", "Session"],
    },
)
