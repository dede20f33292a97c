"""Where each element of a resized axis comes from: PyTorch's own float32 coordinates, computed in integers.

PyTorch (2.13, aten/src/ATen/native/UpSample.h and cpu/UpSampleKernel.cpp) takes, in float32,

    ratio  1 / scale_factor where one was given, else input / output; (input - 1) / (output - 1) with align_corners
    v      ratio * i, of an output index i (nearest, align_corners), or ratio * (i + 0.5)

and its rounding decides which neighbour is nearest: 15 of 195 lengths differ from the same formula rounded otherwise,
as ONNX Runtime does. A graph can't say "round to float32 here" to every engine, and a conversion to half precision
would make it float16, which counts to 2048. Integers stay what they are: v is held as a multiple of 2**-shift, and a
product rounded to 24 bits as float32 is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..building_blocks import as_tensor, bounds, constant, count_to, quotient, start_of
from .axes import Axis

#: Binary places of a ratio. With sizes below 2**20, all products fit into 62 bits.
PLACES = 40
#: Bits of a float32's mantissa.
_BITS = 24
#: Bits of each of the two parts of a weight: both parts are exact in float16 too.
_PART = 11


def positions(ratio: np.float32, count: int, half: bool) -> np.ndarray:
    """v of the first `count` outputs, float32 [count]. `half`: ratio * (i + 1/2)."""
    index = np.arange(count, dtype=np.float32)
    return (index + np.float32(0.5) if half else index) * ratio


def centres(ratio: np.float32, count: int) -> np.ndarray:
    """ratio * (i + 1/2) - 1/2, float32 [count], rounded once: PyTorch's kernels are compiled to fused multiply-add."""
    product = (np.arange(count) + 0.5) * np.float64(ratio)
    return (product - 0.5).astype(np.float32)


@dataclass(frozen=True)
class Fixed:
    """v, int64 [after], as a multiple of 2**-shift."""

    v: torch.Tensor
    shift: int

    def whole(self) -> torch.Tensor:
        """floor(v), v >= 0."""
        return quotient(self.v, 1 << self.shift)

    def fraction(self) -> torch.Tensor:
        """v - floor(v) to 22 bits, float32. Two exact parts of 11 bits: neither is lost or overflows in float16."""
        rest = quotient(self.v % (1 << self.shift), 1 << self.shift - 2 * _PART)
        high, low = quotient(rest, 1 << _PART), rest % (1 << _PART)
        return high.to(torch.float32) * 2.0**-_PART + low.to(torch.float32) * 2.0 ** (-2 * _PART)


def fixed_positions(axis: Axis, half: bool, align_corners: bool = False) -> Fixed:
    """`positions`, of an axis whose ratio is known only when the graph runs."""
    before = axis.before
    size = after = axis.after
    if align_corners:
        # One output has v = 0, whatever the ratio.
        before, after = before - 1, torch.sym_max(after - 1, 1)
    index = count_to(size)
    shift = PLACES + 1 if half else PLACES
    v = (index * 2 + 1 if half else index) * _rounded_ratio(as_tensor(before), as_tensor(after))
    return Fixed(_rounded(v, shift, bounds(axis.before)[1]), shift)


def fixed_centres(axis: Axis) -> Fixed:
    """`centres` plus 1, of an axis whose ratio is known only when the graph runs.

    The 1 is added after rounding, so that nothing is negative: engines divide negative integers each in their way.
    """
    shift, one = PLACES + 1, 1 << PLACES + 1
    v = (count_to(axis.after) * 2 + 1) * _rounded_ratio(as_tensor(axis.before), as_tensor(axis.after))
    centre = v - one // 2
    # Not clamp or maximum: to ONNX Runtime (1.31, CPU) an int64 from 2**31 to 2**32 is less than 0 in Clip and Max.
    beyond = _rounded(torch.where(centre < 0, 0, centre), shift, bounds(axis.before)[1])
    return Fixed(torch.where(centre < 0, centre, beyond) + one, shift)


def _rounded_ratio(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """before / after, both int64 [1], rounded to 24 bits, in units of 2**-PLACES."""
    scaled = before * (1 << PLACES)
    whole = quotient(scaled, after)
    levels = [1 << bit for bit in range(_BITS, 62)]
    unit = _power_of_two((whole >= constant(levels)).sum(0, keepdim=True), len(levels))
    # Ties don't happen: a quotient of sizes below 2**20 has no finite binary form of just 25 bits.
    return quotient(scaled * 2 + unit * after, unit * after * 2) * unit


def _rounded(v: torch.Tensor, shift: int, greatest: int) -> torch.Tensor:
    """v >= 0, int64 [N] in units of 2**-shift and at most `greatest`, rounded to 24 bits.

    Below 1/2 it is rounded to 2**-24 only: no whole part and no weight within 6e-8 depends on more.
    """
    levels = [1 << bit for bit in range(greatest.bit_length() + 1)]
    above = (quotient(v, 1 << shift).unsqueeze(-1) >= constant(levels)).sum(-1)
    unit = _power_of_two(above, len(levels)) * (1 << shift - _BITS)
    # Ties to even. They are common: a ratio of 24 bits times a small index has few bits more.
    return quotient(v + quotient(unit, 2) - 1 + quotient(v, unit) % 2, unit) * unit


def _power_of_two(exponent: torch.Tensor, most: int) -> torch.Tensor:
    """2 ** exponent, int64, from a table: shifts and powers of integers are not built everywhere."""
    return constant([1 << bit for bit in range(most + 1)]).index_select(0, exponent)


def table(numbers: np.ndarray, axis: Axis) -> torch.Tensor:
    """One number per output, from a constant for the longest axis that is cut where the axis ends."""
    made, after = constant(numbers.tolist()), axis.after
    return made if isinstance(after, int) else start_of(made, after)
