"""A bundle as one page to look at: what was proven, what it is made of, and what it looks at; one section a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .writer import ReportPage, report

__all__ = ["ReportPage", "report"]

__getattr__, __dir__ = lazy(__name__, __all__, {"writer": ["ReportPage", "report"]})
