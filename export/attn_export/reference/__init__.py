"""PyTorch's side of the proof: at which shapes it is asked, and what it answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .answers import Arrays, fastpath_disabled, record_answers, run_module
    from .draw import Draw, Drawn, fitted, independent
    from .drawn_sizes import check_varied, trace_inputs
    from .fills import fill_ranges
    from .golden import MOST_BYTES, case_bytes, choose, smaller
    from .module_state import preserved
    from .repeated_answers import refuse_shared_state
    from .settled_answers import Ask, settled
    from .shape_cases import corner_cases, is_example, trace_sizes
    from .signature import Signature, Watch, to_torch
    from .sweep_sizes import SweepPlan, cost_of, plan_sweep
    from .value_cases import FP32_ONLY, MAGNITUDES, is_mask, is_unusual, scaled, small_sizes

__all__ = [
    "FP32_ONLY",
    "MAGNITUDES",
    "MOST_BYTES",
    "Arrays",
    "Ask",
    "Draw",
    "Drawn",
    "Signature",
    "SweepPlan",
    "Watch",
    "case_bytes",
    "check_varied",
    "choose",
    "corner_cases",
    "cost_of",
    "fastpath_disabled",
    "fill_ranges",
    "fitted",
    "independent",
    "is_example",
    "is_mask",
    "is_unusual",
    "plan_sweep",
    "preserved",
    "record_answers",
    "refuse_shared_state",
    "run_module",
    "scaled",
    "settled",
    "small_sizes",
    "smaller",
    "to_torch",
    "trace_inputs",
    "trace_sizes",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "answers": ["fastpath_disabled", "Arrays", "record_answers", "run_module"],
        "draw": ["Draw", "Drawn", "fitted", "independent"],
        "drawn_sizes": ["check_varied", "trace_inputs"],
        "fills": ["fill_ranges"],
        "golden": ["MOST_BYTES", "case_bytes", "choose", "smaller"],
        "module_state": ["preserved"],
        "repeated_answers": ["refuse_shared_state"],
        "shape_cases": ["corner_cases", "is_example", "trace_sizes"],
        "signature": ["Signature", "Watch", "to_torch"],
        "sweep_sizes": ["SweepPlan", "cost_of", "plan_sweep"],
        "settled_answers": ["Ask", "settled"],
        "value_cases": ["FP32_ONLY", "MAGNITUDES", "is_mask", "is_unusual", "scaled", "small_sizes"],
    },
)
