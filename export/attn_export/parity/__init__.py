"""What is held against PyTorch, and what counts as equal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .against_module import verify_against
    from .generation import Written, prove, write_cases
    from .judge import Check, ParityChecker, Verdict, check_case, check_same, parity_error, passed, worst
    from .recorded import ReferenceSet, check, class_outputs, drawn_specs, golden_record, own_record
    from .sweep import Sweep, swept_cases
    from .sweep_recording import record_sweep
    from .teacher_forcing import Agreement, Likelihood, agreement, has_answers, likelihood

__all__ = [
    "Agreement",
    "Check",
    "Likelihood",
    "ParityChecker",
    "ReferenceSet",
    "Sweep",
    "Verdict",
    "Written",
    "agreement",
    "check",
    "check_case",
    "check_same",
    "class_outputs",
    "drawn_specs",
    "golden_record",
    "has_answers",
    "likelihood",
    "own_record",
    "parity_error",
    "passed",
    "prove",
    "record_sweep",
    "swept_cases",
    "verify_against",
    "worst",
    "write_cases",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "against_module": ["verify_against"],
        "generation": ["Written", "prove", "write_cases"],
        "judge": ["Check", "ParityChecker", "Verdict", "check_case", "check_same", "parity_error", "passed", "worst"],
        "recorded": ["ReferenceSet", "check", "class_outputs", "drawn_specs", "golden_record", "own_record"],
        "sweep": ["Sweep", "swept_cases"],
        "sweep_recording": ["record_sweep"],
        "teacher_forcing": ["Agreement", "Likelihood", "agreement", "has_answers", "likelihood"],
    },
)
