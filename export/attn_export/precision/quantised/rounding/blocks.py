"""Weights to integers and scales, by several methods of rounding.

Measured as |x (w - wq)| against rounding to nearest, on weights of trained transformers and inputs that the rounding did not see:
scales that are searched lose a tenth less, rounding that compensates loses half. docs/quantisation.md has the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from attn_runtime.errors import BundleError, UsageError, did_you_mean
from numpy.typing import NDArray

from .gptq import compensated, damped, descended, inverse_factor
from .integer_grid import GRIDS, Floats, Grid, as_float16

#: What loses most first.
ROUNDINGS = ("nearest", "clip", "gptq")
_FLOAT16_MAX = float(np.finfo(np.float16).max)
_FP8_MAX = float(ml_dtypes.finfo(ml_dtypes.float8_e4m3fn).max)
#: Numbers of a weight that are worked on at a time: 16 MiB, of which there are about ten copies.
_AT_A_TIME = 2**22


@dataclass(frozen=True)
class Blocks:
    """A weight [K, N], for x @ w, as integers with a scale for every `block` rows of a column. There is no zero point.

    q        int8 [K, N]: -8..7 for four bits, -127..127 for eight; float8_e4m3fn from `fp8`
    scales   float32 [ceil(K / block), N], positive numbers that float16 has too; [1, N] per channel
    block    rows of a scale; K per channel
    """

    q: NDArray[Any]
    scales: Floats
    block: int

    def dequantised(self) -> Floats:
        """The weight that the numbers stand for, float32 [K, N]."""
        wide: Floats = self.q.astype(np.float32)
        return wide * np.repeat(self.scales, self.block, axis=0)[: len(self.q)]


def best_rounding(calibrated: bool) -> str:
    """The method that loses least with (`calibrated`) or without a second moment of the inputs."""
    return "gptq" if calibrated else "clip"


def quantise(
    w: Floats,
    bits: int,
    block: int | None = None,
    method: str = "nearest",
    second_moment: NDArray[np.floating] | None = None,
    samples: int | None = None,
    name: str = "the weight",
) -> Blocks:
    """`w` float32 [K, N], for x @ w, in `bits` 4 or 8 with a scale for every `block` rows of a column; None: for each column.

    nearest   the scale that reaches the largest weight of a block; no weight moves by more than half a step
    clip      of many scales, the one with the least square error
    gptq      the least error of the output: see `gptq.py`

    `second_moment` [K, K] is the mean of x^T x over `samples` inputs x [1, K] (rows of batches, tokens of texts), float32 or
    float64, not damped; None: far more than K. gptq needs it, the others do not look at it. The block at the end may be shorter
    than the others. `name` is what errors call the weight.

    Raises UsageError for what this does not take, and BundleError for weights that are not finite or that float16 can't hold.
    """
    grid = _grid(w, bits, block, method, second_moment, samples, name)
    _check_numbers(w, name)
    inputs, outputs = w.shape
    rows = min(block or inputs, inputs)
    padding = -inputs % rows
    moments = (
        _moments(second_moment, samples, padding, name) if method == "gptq" and second_moment is not None else None
    )
    q = np.empty((inputs, outputs), np.int8)
    scales = np.empty(((inputs + padding) // rows, outputs), np.float32)
    # Columns have nothing to do with each other.
    width = max(1, _AT_A_TIME // (inputs + padding))
    for start in range(0, outputs, width):
        columns = slice(start, start + width)
        part = np.pad(w[:, columns], ((0, padding), (0, 0)))
        if moments:
            moment, factor = moments
            part_q, part_scales = descended(part, *compensated(part, rows, grid, factor), grid, moment)
        else:
            blocks = part.reshape(-1, rows, part.shape[1])
            part_scales = grid.of_largest(blocks) if method == "nearest" else grid.searched(blocks)
            part_q = grid.rounded(blocks, part_scales).reshape(part.shape)
        q[:, columns], scales[:, columns] = part_q[:inputs], part_scales[:, 0]
    return Blocks(q, scales, rows)


def _moments(
    second_moment: NDArray[np.floating], samples: int | None, padding: int, name: str
) -> tuple[Floats, Floats]:
    """The damped second moment of K + `padding` inputs, and the factor of its inverse."""
    moment = damped(second_moment, samples)
    if padding:
        # Inputs that are added are never anything but 0, and have nothing to do with the others.
        wide = np.eye(len(moment) + padding) * (np.trace(moment) / len(moment))
        wide[: len(moment), : len(moment)] = moment
        moment = wide
    try:
        return moment.astype(np.float32), inverse_factor(moment)
    except np.linalg.LinAlgError:
        raise UsageError(f"{name}: its second moment has a negative eigenvalue; give the mean of x^T x") from None


def fp8(w: Floats, name: str = "the weight") -> Blocks:
    """`w` float32 [K, N], for x @ w, in float8_e4m3fn with a scale for each column.

    The largest weight of a column becomes 448, the type's largest number. Raises what `quantise` raises for `w`.
    """
    _check_weight(w, name)
    _check_numbers(w, name)
    scales = as_float16(np.abs(w).max(axis=0, keepdims=True) / np.float32(_FP8_MAX))
    # What is beyond the largest number becomes NaN in this type, not the largest number.
    return Blocks(np.clip(w / scales, -_FP8_MAX, _FP8_MAX).astype(ml_dtypes.float8_e4m3fn), scales, len(w))


def _grid(
    w: Floats,
    bits: int,
    block: int | None,
    method: str,
    second_moment: NDArray[np.floating] | None,
    samples: int | None,
    name: str,
) -> Grid:
    """The integers of `bits`, after everything but the numbers of the weight was looked at."""
    _check_weight(w, name)
    if bits not in GRIDS:
        raise UsageError(f"{name}: {bits} bits; available: {', '.join(map(str, GRIDS))}")
    if block is not None and block < 1:
        raise UsageError(f"{name}: blocks of {block} rows; expected at least 1, or None for a scale per column")
    if method not in ROUNDINGS:
        raise UsageError(
            f'unknown rounding "{method}"; {did_you_mean(method, ROUNDINGS)}available: {", ".join(ROUNDINGS)}'
        )
    if second_moment is None:
        if method == "gptq":
            raise UsageError(f"{name}: gptq needs the second moment of its inputs; give calibration data, or take clip")
    elif second_moment.shape != (len(w), len(w)):
        raise UsageError(f"{name}: its second moment is {list(second_moment.shape)}, expected {[len(w)] * 2}")
    elif samples is not None and samples < 1:
        raise UsageError(f"{name}: the mean of {samples} inputs; expected at least 1, or None where they are many")
    elif not np.isfinite(second_moment).all():
        raise UsageError(f"{name}: the second moment of its inputs is not finite; leave this layer as it is")
    return GRIDS[bits]


def _check_weight(w: Floats, name: str) -> None:
    if w.ndim != 2 or w.dtype != np.float32 or not w.size:
        raise UsageError(f"{name}: {w.dtype} {list(w.shape)}, expected float32 [K, N] with something in it")


def _check_numbers(w: Floats, name: str) -> None:
    wrong = w.size - int(np.isfinite(w).sum())
    if wrong:
        raise BundleError(f"{name}: {wrong} of {w.size} numbers are not finite; leave this layer as it is")
    largest = float(np.abs(w).max())
    # Where scales are float16, so is the product of a scale and its integer; a rounded weight may be half a step larger.
    if largest > _FLOAT16_MAX * 0.9:
        raise BundleError(
            f"{name}: |weight| up to {largest:.3g} is beyond float16 ({_FLOAT16_MAX:g}); leave this layer as it is"
        )
