"""Where the ranges of activations come from: samples of real inputs, and what is measured of the tensors that they make."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .moments import second_moments
    from .ranges import METHODS, PERCENTILE, Calibration, Range, calibrate, check_method
    from .samples import Samples, named_samples, open_samples, samples_of_files
    from .step_samples import generator_samples
    from .token_rows import WINDOW, TokenRows, is_text_folder, open_token_rows, write_windows

__all__ = [
    "METHODS",
    "PERCENTILE",
    "WINDOW",
    "Calibration",
    "Range",
    "Samples",
    "TokenRows",
    "calibrate",
    "check_method",
    "generator_samples",
    "is_text_folder",
    "named_samples",
    "open_samples",
    "open_token_rows",
    "samples_of_files",
    "second_moments",
    "write_windows",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "moments": ["second_moments"],
        "ranges": ["METHODS", "PERCENTILE", "Calibration", "Range", "calibrate", "check_method"],
        "samples": ["Samples", "named_samples", "open_samples", "samples_of_files"],
        "step_samples": ["generator_samples"],
        "token_rows": ["WINDOW", "TokenRows", "is_text_folder", "open_token_rows", "write_windows"],
    },
)
