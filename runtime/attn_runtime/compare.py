"""The arithmetic of 'equal': the largest error of a tensor against its reference, and where it is.

Equal means |got - expected| <= atol + rtol * max|expected|, with one limit for the whole tensor: attention's
outputs mix scales, and an element-wise relative error would be dominated by values near zero. A NaN that the
reference does not have, a missing NaN, a missing output, a wrong shape or dtype: none of them is equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Tolerance:
    atol: float = 1e-6
    rtol: float = 2e-5

    def limit(self, max_reference: float) -> float:
        """How large an error may be in a tensor whose reference is at most `max_reference`."""
        return self.atol + self.rtol * max_reference

    def to_json(self) -> dict[str, float]:
        return {"atol": self.atol, "rtol": self.rtol}


@dataclass(frozen=True)
class Difference:
    """How one output differs. Errors are absolute, in the output's unit; `worst` holds (index, expected, got)."""

    output: str
    max_error: float
    max_reference: float
    limit: float
    passed: bool
    problem: str = ""
    worst: tuple[tuple[tuple[int, ...], float, float], ...] = ()

    @property
    def blurred(self) -> bool:
        """Whether the limit is over 1 % of all there is, so that passing says little."""
        return 0 < self.max_reference < 100 * self.limit

    @property
    def relative_error(self) -> float:
        return self.max_error / self.max_reference if self.max_reference else self.max_error


def compare(output: str, expected: Array, got: Array | None, tolerance: Tolerance, keep: int = 3) -> Difference:
    """Compare one output with its reference; never raises, and a comparison that can't be made has not passed."""

    def failed(problem: str) -> Difference:
        return Difference(output, float("inf"), float("nan"), 0.0, False, problem)

    if got is None:
        return failed("missing")
    if got.shape != expected.shape:
        return failed(f"shape {list(got.shape)}, expected {list(expected.shape)}")
    if got.dtype != expected.dtype:
        return failed(f"dtype {got.dtype.name}, expected {expected.dtype.name}")
    if expected.size == 0:
        return Difference(output, 0.0, 0.0, tolerance.atol, True)
    if expected.dtype.kind not in "f":
        # Integers and booleans have no rounding: 2**53 neighbours must not vanish in a cast to float.
        unequal = expected != got
        if not unequal.any():
            return Difference(output, 0.0, float(np.abs(expected.astype(np.float64)).max()), 0.0, True)
        error = np.asarray(np.abs(expected.astype(np.float64) - got.astype(np.float64)))
        error[unequal & (error == 0)] = 1.0
        return _difference(output, error, expected, got, 0.0, keep, f"{int(unequal.sum())} of {unequal.size} differ")

    wide_expected, wide_got = expected.astype(np.float64, copy=False), got.astype(np.float64, copy=False)
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.asarray(np.abs(wide_expected - wide_got))  # numpy makes a scalar of a tensor of rank 0
    same_infinity = np.isinf(wide_expected) & (wide_expected == wide_got)
    both_nan = np.isnan(wide_expected) & np.isnan(wide_got)
    error[same_infinity | both_nan] = 0.0
    one_nan = np.isnan(wide_expected) ^ np.isnan(wide_got)
    error[np.isnan(error)] = np.inf
    finite = np.abs(wide_expected[np.isfinite(wide_expected)])
    limit = tolerance.limit(float(finite.max()) if finite.size else 0.0)
    problem = (
        f"NaN in {int(one_nan.sum())} of {one_nan.size} places where only one side has it" if one_nan.any() else ""
    )
    return _difference(output, error, wide_expected, wide_got, limit, keep, problem)


def _difference(
    output: str, error: Array, expected: Array, got: Array, limit: float, keep: int, problem: str
) -> Difference:
    flat = error.ravel()
    max_error = float(flat.max())
    finite = np.abs(expected[np.isfinite(expected)]) if expected.dtype.kind == "f" else np.abs(expected.astype(float))
    max_reference = float(finite.max()) if finite.size else 0.0
    passed = not problem and max_error <= limit
    worst: list[tuple[tuple[int, ...], float, float]] = []
    if not passed:
        for position in np.argsort(flat)[::-1][:keep]:
            index = tuple(int(i) for i in np.unravel_index(int(position), error.shape))
            worst.append((index, float(expected[index]), float(got[index])))
    return Difference(output, max_error, max_reference, limit, passed, problem, tuple(worst))


def compare_all(
    expected: Mapping[str, Array], got: Mapping[str, Array], tolerance: Tolerance, keep: int = 3
) -> list[Difference]:
    """One Difference per expected output, in order; an output that the reference does not have is a failure too."""
    found = [compare(name, value, got.get(name), tolerance, keep) for name, value in expected.items()]
    for name in got:
        if name not in expected:
            found.append(Difference(name, float("inf"), float("nan"), 0.0, False, "not in the reference"))
    return found
