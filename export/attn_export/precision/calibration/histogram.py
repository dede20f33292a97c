"""What is kept of one tensor over all samples: its least and largest value, and a histogram of magnitudes.

Its size is fixed, whatever is met and in whatever order: where a larger magnitude comes, neighbouring bins are added up. (ONNX
Runtime's HistogramCollector, 1.31, appends bins of the first sample's width instead: 128 of them become 128 million where 1e-3
is followed by 1e3.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..layerwise import STANDS_FOR_INFINITY

#: The bins are of equal width, and more than half of them lie below the largest magnitude.
BINS = 8192
#: Values that are worked on at once: temporary arrays stay small, and in a processor's cache.
_PIECE = 1 << 18
#: Limits below 2**_LEAST are not told apart: the width of a bin has to be a float32.
_LEAST = -100


@dataclass
class TensorStatistics:
    """`low` and `high` are over all finite values that stand for no infinity; inf and -inf where none came.

    counts     int64 [BINS]: how many values lie in each bin, without the zeros, which every scale represents exactly; None
               where no histogram is wanted
    exponent   the bins reach from 0 to 2**exponent, which is more than the largest magnitude
    """

    low: float = math.inf
    high: float = -math.inf
    counts: NDArray[np.int64] | None = field(default_factory=lambda: np.zeros(BINS, np.int64))
    exponent: int = _LEAST

    @property
    def largest(self) -> float:
        """The largest magnitude; -inf where no value came."""
        return max(-self.low, self.high)

    def add(self, values: NDArray[np.floating]) -> None:
        """Take in the values of one sample, of any shape."""
        flat = values.reshape(-1)
        for start in range(0, flat.size, _PIECE):
            self._add(flat[start : start + _PIECE].astype(np.float32, copy=False))

    def _add(self, piece: NDArray[np.float32]) -> None:
        low, high = float(piece.min()), float(piece.max())
        if not max(-low, high) < STANDS_FOR_INFINITY:  # a NaN is not less either
            with np.errstate(invalid="ignore"):
                piece = piece[np.abs(piece) < STANDS_FOR_INFINITY]
            if not piece.size:
                return
            low, high = float(piece.min()), float(piece.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        if self.counts is None:
            return
        self._reach(max(-low, high))
        # A power of two: the product is exact, and below BINS.
        scaled = np.abs(piece) * np.float32(math.ldexp(BINS, -self.exponent))
        self.counts += np.bincount(scaled.astype(np.int64), minlength=BINS)
        self.counts[0] -= piece.size - np.count_nonzero(piece)

    def _reach(self, magnitude: float) -> None:
        """Widen the bins until `magnitude` lies in one of them."""
        assert self.counts is not None
        exponent = max(math.frexp(magnitude)[1], self.exponent)
        together = 1 << min(exponent - self.exponent, BINS.bit_length() - 1)
        if together > 1:
            sums = self.counts.reshape(-1, together).sum(1)
            self.counts = np.zeros(BINS, np.int64)
            self.counts[: sums.size] = sums
        self.exponent = exponent
