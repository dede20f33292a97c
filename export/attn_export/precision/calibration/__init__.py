"""Where the ranges of activations come from: samples of real inputs, and what is measured of the tensors that they make."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .moments import second_moments
    from .ranges import METHODS, PERCENTILE, Calibration, Range, calibrate, check_method
    from .samples import Samples, named_samples, open_samples, samples_of_files

__all__ = [
    "METHODS",
    "PERCENTILE",
    "Calibration",
    "Range",
    "Samples",
    "calibrate",
    "check_method",
    "named_samples",
    "open_samples",
    "samples_of_files",
    "second_moments",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "moments": ["second_moments"],
        "ranges": ["METHODS", "PERCENTILE", "Calibration", "Range", "calibrate", "check_method"],
        "samples": ["Samples", "named_samples", "open_samples", "samples_of_files"],
    },
)
