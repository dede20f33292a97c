"""What this machine can run, what it can't and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy

if TYPE_CHECKING:
    from .doctor import Diagnosis, diagnose, diagnosis_lines

__all__ = ["Diagnosis", "diagnose", "diagnosis_lines"]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "doctor": ["Diagnosis", "diagnose", "diagnosis_lines"],
    },
)
