"""The arithmetic of 'equal': the largest error of a tensor against its reference, and where it is.

Equal means |got - expected| <= atol + rtol * max|expected|, with one limit for the whole tensor: attention's
outputs mix scales, and an element-wise relative error would be dominated by values near zero. A NaN that the
reference does not have, a missing NaN, a missing output, a wrong shape or dtype: none of them is equal.

Fill values, which a model writes over places that are banned or masked (-1e9, the least float32), are held apart: beside
them max|expected| would be theirs, and the limit wide enough for any answer. Where the reference lies in a range of
`Tolerance.fills`, an element is held to its own size, atol + rtol * |expected|, and the largest of all others decides
the limit of the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .lazy import dataclass

Array = NDArray[Any]
#: Output -> the ranges (low, high), both ends included and on one side of 0, that its fill values lie in.
Fills = Mapping[str, tuple[tuple[float, float], ...]]

_LARGEST_FLOAT16 = 65504.0
#: Elements that are compared at a time: what is made of them fits into a processor's cache.
_PIECE = 1 << 16


@dataclass(frozen=True)
class Tolerance:
    """How much an answer may differ from its reference, and which values of an output are fills.

    `rtols` are those of outputs that have one of their own: of a narrow type, a few times what its rounding was measured at.
    """

    atol: float = 1e-6
    rtol: float = 2e-5
    fills: Fills = field(default_factory=dict, hash=False)
    rtols: Mapping[str, float] = field(default_factory=dict, hash=False)

    def of(self, output: str) -> Tolerance:
        """The same with the rtol of this output."""
        return replace(self, rtol=self.rtols[output], rtols={}) if output in self.rtols else self

    def times(self, factor: float) -> Tolerance:
        """With every limit `factor` times as wide; fills as they are."""
        rtols = {output: factor * rtol for output, rtol in self.rtols.items()}
        return replace(self, atol=factor * self.atol, rtol=factor * self.rtol, rtols=rtols)

    def limit(self, max_reference: float) -> float:
        """How large an error may be in a tensor whose reference is at most `max_reference`."""
        return self.atol + self.rtol * max_reference

    def filled(self, output: str, reference: Array) -> NDArray[np.bool_] | None:
        """Where the reference of `output` is a fill, bool of its shape; None where it has no such place."""
        ranges = self.fills.get(output, ())
        if not ranges or reference.dtype.kind != "f":
            return None
        # In float64, as it is compared: the end of a range need not be a number of the output's own type.
        wide = reference.astype(np.float64, copy=False)
        places = np.zeros(reference.shape, np.bool_)
        for low, high in ranges:
            places |= (wide >= low) & (wide <= high)
        return places if places.any() else None

    def largest(self, output: str, reference: Array) -> float:
        """max|reference| of `output` without what is infinite, NaN or a fill; 0 where nothing is left."""
        kept = np.isfinite(reference)
        if (filled := self.filled(output, reference)) is not None:
            kept &= ~filled
        return float(np.abs(reference[kept].astype(np.float64, copy=False)).max(initial=0.0))

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"atol": self.atol, "rtol": self.rtol}
        if self.rtols:
            found["rtols"] = dict(self.rtols)
        if self.fills:
            found["fills"] = {output: [list(ends) for ends in ranges] for output, ranges in self.fills.items()}
        return found

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Tolerance:
        """What `to_json` gave. KeyError, TypeError or ValueError for anything else that a file may hold in its place."""
        rtols = {str(output): float(rtol) for output, rtol in entry.get("rtols", {}).items()}
        found = cls(float(entry["atol"]), float(entry["rtol"]), _fills(entry.get("fills", {})), rtols)
        if not all(number >= 0 for number in (found.atol, found.rtol, *rtols.values())):
            raise ValueError(f"atol {found.atol}, rtol {found.rtol}, rtols {rtols}")
        return found


def _fills(entry: Mapping[str, Any]) -> Fills:
    fills: dict[str, tuple[tuple[float, float], ...]] = {}
    for output, ranges in entry.items():
        ends = tuple((float(low), float(high)) for low, high in ranges)
        if not all(is_fill_range(low, high) for low, high in ends):
            raise ValueError(f"fills of {output}: {ends}")
        fills[output] = ends
    return fills


def is_fill_range(low: float, high: float) -> bool:
    """Whether low <= high, both finite and on one side of 0."""
    return math.isfinite(low) and math.isfinite(high) and low <= high and (low > 0 or high < 0)


class Worst(NamedTuple):
    """One element that is off: where, and how much it may be."""

    place: tuple[int, ...]
    expected: float
    got: float
    allowed: float


@dataclass(frozen=True)
class Difference:
    """How one output differs. Errors are absolute, in the output's unit; `worst` holds the elements furthest over their limit.

    max_error      of what is no fill value, and so are `max_reference` and `limit`
    max_fill       max|fill|; NaN where the reference has none
    fill_ratio     the largest error of a fill over what it may be off; 0 where there is none
    """

    output: str
    max_error: float
    max_reference: float
    limit: float
    passed: bool
    problem: str = ""
    worst: tuple[Worst, ...] = ()
    max_fill: float = math.nan
    fill_ratio: float = 0.0

    @property
    def blurred(self) -> bool:
        """Whether the limit is over 1 % of all there is, so that passing says little."""
        return 0 < self.max_reference < 100 * self.limit

    @property
    def relative_error(self) -> float:
        return self.max_error / self.max_reference if self.max_reference else self.max_error

    @property
    def ratio(self) -> float:
        """max|error| / limit, of fills by their own: up to 1 where it passed; infinite where something is NaN or missing."""
        own = self.max_error / self.limit if self.limit else math.inf if self.max_error else 0.0
        ratio = max(own, self.fill_ratio)
        return ratio if self.passed or ratio > 1 else math.inf


def compare(
    output: str, expected: Array, got: Array | None, tolerance: Tolerance, keep: int = 3, *, half_io: bool = False
) -> Difference:
    """Compare one output with its reference; never raises, and a comparison that can't be made has not passed.

    `half_io` says that `got` was float16 before it was widened: a fill beyond what float16 holds then equals the infinity of
    its sign, or float16's largest number, which is all that such a file can write in its place. Nothing else does.
    """

    def failed(problem: str) -> Difference:
        return Difference(output, float("inf"), float("nan"), 0.0, False, problem)

    tolerance = tolerance.of(output)
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
        largest = float(np.abs(expected.astype(np.float64)).max())
        problem = f"{int(unequal.sum())} of {unequal.size} differ"
        return _difference(output, error, expected, got, largest, 0.0, keep, problem)

    if output not in tolerance.fills and (found := _finite_and_equal(output, expected, got, tolerance)) is not None:
        return found
    wide_expected, wide_got = expected.astype(np.float64, copy=False), got.astype(np.float64, copy=False)
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.asarray(np.abs(wide_expected - wide_got))  # numpy makes a scalar of a tensor of rank 0
    same_infinity = np.isinf(wide_expected) & (wide_expected == wide_got)
    both_nan = np.isnan(wide_expected) & np.isnan(wide_got)
    error[same_infinity | both_nan] = 0.0
    one_nan = np.isnan(wide_expected) ^ np.isnan(wide_got)
    error[np.isnan(error)] = np.inf
    filled = tolerance.filled(output, wide_expected)
    if filled is not None and half_io:
        error[filled & _stands_for(wide_expected, wide_got)] = 0.0
    problem = (
        f"NaN in {int(one_nan.sum())} of {one_nan.size} places where only one side has it" if one_nan.any() else ""
    )
    max_reference = tolerance.largest(output, wide_expected)
    if filled is None:
        limit = tolerance.limit(max_reference)
        return _difference(output, error, wide_expected, wide_got, max_reference, limit, keep, problem)
    return _with_fills(output, error, wide_expected, wide_got, filled, max_reference, tolerance, keep, problem)


def _finite_and_equal(output: str, expected: Array, got: Array, tolerance: Tolerance) -> Difference | None:
    """What `compare` finds of most tensors: all is finite, and no error over the limit. None for any other.

    The same numbers as of the whole in float64, a piece at a time: a cache of keys has a hundred million elements.
    """
    largest = error = 0.0
    flat, other = expected.reshape(-1), got.reshape(-1)
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, flat.size, _PIECE):
            wide = flat[start : start + _PIECE].astype(np.float64)
            off = np.abs(wide - other[start : start + _PIECE])
            here, apart = float(np.abs(wide, out=wide).max()), float(off.max())
            if not (math.isfinite(here) and math.isfinite(apart)):
                return None
            largest, error = max(largest, here), max(error, apart)
    limit = tolerance.limit(largest)
    return Difference(output, error, largest, limit, True) if error <= limit else None


def _stands_for(expected: Array, got: Array) -> Array:
    """Where `got` is what float16 makes of a number beyond its range: infinity, or where it saturates its largest number."""
    written = (got == np.copysign(np.inf, expected)) | (got == np.copysign(_LARGEST_FLOAT16, expected))
    beyond: Array = (np.abs(expected) > _LARGEST_FLOAT16) & written
    return beyond


def _difference(
    output: str, error: Array, expected: Array, got: Array, max_reference: float, limit: float, keep: int, problem: str
) -> Difference:
    max_error = float(error.max())
    passed = not problem and max_error <= limit
    worst = () if passed else _worst(error, error, expected, got, np.broadcast_to(limit, error.shape), keep)
    return Difference(output, max_error, max_reference, limit, passed, problem, worst)


def _with_fills(
    output: str,
    error: Array,
    expected: Array,
    got: Array,
    filled: NDArray[np.bool_],
    max_reference: float,
    tolerance: Tolerance,
    keep: int,
    problem: str,
) -> Difference:
    """The same of a tensor that has fills in it, where `filled` is true."""
    limit = tolerance.limit(max_reference)
    allowed = np.full(error.shape, limit)
    allowed[filled] = tolerance.atol + tolerance.rtol * np.abs(expected[filled])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where((error == 0) | np.isinf(error), error, error / allowed)
    off = int((error[filled] > allowed[filled]).sum())
    if off and not problem:
        problem = f"{off} of {int(filled.sum())} fill values differ, by up to {error[filled].max():.3g}"
    max_error = float(error[~filled].max(initial=0.0))
    passed = not problem and max_error <= limit
    return Difference(
        output,
        max_error,
        max_reference,
        limit,
        passed,
        problem,
        () if passed else _worst(ratio, error, expected, got, allowed, keep),
        float(np.abs(expected[filled]).max()),
        float(ratio[filled].max()),
    )


def _worst(by: Array, error: Array, expected: Array, got: Array, allowed: Array, keep: int) -> tuple[Worst, ...]:
    """The `keep` elements that are furthest off, as `by` has it."""
    worst: list[Worst] = []
    for position in np.argsort(by, axis=None)[::-1][:keep]:
        index = tuple(int(i) for i in np.unravel_index(int(position), error.shape))
        worst.append(Worst(index, float(expected[index]), float(got[index]), float(allowed[index])))
    return tuple(worst)


def compare_all(
    expected: Mapping[str, Array],
    got: Mapping[str, Array],
    tolerance: Tolerance,
    keep: int = 3,
    *,
    half_io: bool = False,
) -> list[Difference]:
    """One Difference per expected output, in order; an output that the reference does not have is a failure too."""
    found = [compare(name, value, got.get(name), tolerance, keep, half_io=half_io) for name, value in expected.items()]
    for name in got:
        if name not in expected:
            found.append(Difference(name, float("inf"), float("nan"), 0.0, False, "not in the reference"))
    return found
