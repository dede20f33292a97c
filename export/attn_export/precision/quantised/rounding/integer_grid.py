"""The integers that a weight is rounded to, and the scale of a block that loses least.

Weights lie as they are multiplied, x @ w: [K, N], rows are inputs. A block is `block` rows of one column, with one scale. There
is no zero point, since TensorRT takes none, and scales are numbers of float16, in which TensorRT's form stores them. They are
positive: what onnxruntime's rounding gains by a sign (the largest weight of a block is -8, whichever sign it has) the search
below gains as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
#: The least scale, float16's smallest number: below it a block would be divided by nothing.
LEAST = float(np.finfo(np.float16).smallest_subnormal)
#: Rounds of "the best scale for these integers, the best integers for this scale"; a third one changes next to nothing.
_REFINED = 2


@dataclass(frozen=True)
class Grid:
    """Integers low..high. `reach` is what the largest |weight| of a block is divided by for its scale where all are rounded to
    nearest, and `shares` are the shares of that scale that `searched` tries."""

    low: int
    high: int
    reach: float
    shares: tuple[float, ...]

    def rounded(self, w: Floats, scales: Floats) -> Floats:
        """The integers nearest to w / scales, as float32."""
        rounded: Floats = np.clip(np.rint(w / scales), self.low, self.high)
        return rounded

    def of_largest(self, w: Floats) -> Floats:
        """Scales [B, 1, N] of w [B, block, N] with which no weight is further than half a step from its integer."""
        return as_float16(np.abs(w).max(axis=1, keepdims=True) / np.float32(self.reach))

    def searched(self, w: Floats) -> Floats:
        """Scales [B, 1, N] of w [B, block, N] with the least square error.

        Large weights may be cut off, where that costs less than a wide step for all others: the clipping of AWQ (Lin et al.
        2023, arXiv:2306.00978), without its weights for inputs. Every share is tried, then the best scale is refined in closed
        form.
        """
        widest = self.of_largest(w)
        scales, best = self._better(w, widest, widest, np.full_like(widest, np.inf))
        for share in self.shares:
            scales, best = self._better(w, as_float16(widest * np.float32(share)), scales, best)
        for _ in range(_REFINED):
            q = self.rounded(w, scales)
            squares = (q * q).sum(axis=1, keepdims=True)
            fitted = np.divide((w * q).sum(axis=1, keepdims=True), squares, out=scales.copy(), where=squares > 0)
            scales, best = self._better(w, as_float16(fitted), scales, best)
        return scales

    def _better(self, w: Floats, tried: Floats, scales: Floats, best: Floats) -> tuple[Floats, Floats]:
        """(scales, their losses), both [B, 1, N], after `tried` took the place of those that lose more."""
        error = w - self.rounded(w, tried) * tried
        loss = (error * error).sum(axis=1, keepdims=True)
        less = loss < best
        return np.where(less, tried, scales), np.where(less, loss, best)


def as_float16(scales: Floats) -> Floats:
    """Scales, rounded to positive numbers of float16; where a block is all zeros, 1."""
    rounded = scales.astype(np.float16).astype(np.float32)
    return np.where(scales == 0, np.float32(1), np.maximum(rounded, np.float32(LEAST)))


def _shares(least: float, most: float, count: int) -> tuple[float, ...]:
    return tuple(np.linspace(least, most, count).tolist())


#: By bits. Four: -8 is used, and half a step above 7, so that the largest weight may have either sign. Eight: one step more
#: or less is nothing, and -128 is what some integer kernels overflow at.
GRIDS = {
    4: Grid(-8, 7, 7.5, _shares(0.4, 1.1, 29)),
    8: Grid(-127, 127, 127.0, _shares(0.5, 1.0, 21)),
}
