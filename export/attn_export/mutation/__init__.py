"""Changing a graph on purpose, to measure what its proof notices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .mutants import Mutant, Mutants
    from .power import measure_power
    from .report import MutationReport, Result

__all__ = ["Mutant", "Mutants", "MutationReport", "Result", "measure_power"]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "mutants": ["Mutant", "Mutants"],
        "power": ["measure_power"],
        "report": ["MutationReport", "Result"],
    },
)
