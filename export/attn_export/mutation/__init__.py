"""Changing a graph on purpose, to measure what its proof notices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .candidate_cases import candidates
    from .choice import Choice, choose_by_power
    from .mutants import Mutant, Mutants
    from .power import measure_power
    from .report import MutationReport, Result
    from .unseen_inputs import edges, fresh_inputs
    from .weak_proof import notes

__all__ = [
    "Choice",
    "Mutant",
    "Mutants",
    "MutationReport",
    "Result",
    "candidates",
    "choose_by_power",
    "edges",
    "fresh_inputs",
    "measure_power",
    "notes",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "candidate_cases": ["candidates"],
        "choice": ["Choice", "choose_by_power"],
        "unseen_inputs": ["edges", "fresh_inputs"],
        "mutants": ["Mutant", "Mutants"],
        "power": ["measure_power"],
        "report": ["MutationReport", "Result"],
        "weak_proof": ["notes"],
    },
)
