"""PyTorch's side of the proof: at which shapes it is asked, and what it answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .answers import Arrays, record_answers, run_module
    from .golden import MOST_BYTES, choose
    from .mha_fastpath import fastpath_disabled
    from .module_state import preserved
    from .repeated_answers import refuse_shared_state
    from .shape_cases import corner_cases, trace_sizes
    from .signature import Signature, Watch, to_torch

__all__ = [
    "MOST_BYTES",
    "Arrays",
    "Signature",
    "Watch",
    "choose",
    "corner_cases",
    "fastpath_disabled",
    "preserved",
    "record_answers",
    "refuse_shared_state",
    "run_module",
    "to_torch",
    "trace_sizes",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "answers": ["Arrays", "record_answers", "run_module"],
        "golden": ["MOST_BYTES", "choose"],
        "mha_fastpath": ["fastpath_disabled"],
        "module_state": ["preserved"],
        "repeated_answers": ["refuse_shared_state"],
        "shape_cases": ["corner_cases", "trace_sizes"],
        "signature": ["Signature", "Watch", "to_torch"],
    },
)
