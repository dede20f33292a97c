"""From a histogram of magnitudes to the largest magnitude that a range is to hold: what lies beyond is clipped to it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .histogram import BINS, TensorStatistics

#: Magnitudes that int8 tells apart, zero included.
LEVELS = 128
#: Bins that one step from a candidate to the next has, of the 2048 to 4096 in which entropy looks.
_STEP = 8
#: A threshold that clips more of the values than this is none: with all of them in one bin, nothing would diverge.
_MOST_CLIPPED = 0.1
#: Where one distribution has nothing and the other something, so many counts: a divergence would be infinite.
_LITTLE = 1e-4


def percentile_threshold(statistics: TensorStatistics, percentile: float) -> float:
    """The magnitude that `percentile` percent of the values do not exceed, to a 4096th of the largest one.

    Of values that are not zero: zero is exact at every scale, and a tensor that is nearly all zero would lose the rest.
    """
    assert statistics.counts is not None
    cumulative = np.cumsum(statistics.counts)
    # The product rounds: of a million values 99.99 % would be a hair over 999 900, and one more.
    wanted = math.ceil(round(percentile / 100.0 * int(cumulative[-1]), 6))
    index = int(np.searchsorted(cumulative, wanted))
    return min(statistics.largest, math.ldexp(index + 1, statistics.exponent) / BINS)


def entropy_threshold(statistics: TensorStatistics) -> float:
    """The magnitude at which the clipped and quantised values are distributed most like the real ones.

    As TensorRT 7 to 10 calibrated (S. Migacz, "8-bit inference with TensorRT", GTC 2017): of all thresholds from LEVELS bins
    on, the one with the least Kullback-Leibler divergence of the values, those beyond it counted in the last bin, from what
    LEVELS equal levels keep of them. The first bin is counted as the second: what lies there is zero in each of the candidates.
    It is never less than a 32nd of the largest magnitude.
    """
    assert statistics.counts is not None
    counts = statistics.counts.reshape(-1, 2).sum(1).astype(np.float64)
    width = math.ldexp(1.0, statistics.exponent) * 2 / BINS
    used = int(np.flatnonzero(counts)[-1]) + 1
    counts[0] = min(counts[0], counts[1])
    if used <= LEVELS or not counts[:used].any():
        return statistics.largest
    holding = int(np.searchsorted(np.cumsum(counts), (1 - _MOST_CLIPPED) * counts.sum())) + 1
    candidates = [*range(max(LEVELS, holding), used, _STEP), used]
    divergences = [_divergence(counts[:used], kept) for kept in candidates]
    best = candidates[int(np.argmin(divergences))]
    return float(min(statistics.largest, best * width))


def _divergence(counts: NDArray[np.float64], kept: int) -> float:
    """Kullback-Leibler divergence of the first `kept` bins, with what lies beyond in the last, from their quantised form."""
    inside = counts[:kept]
    real = inside.copy()
    real[-1] += counts[kept:].sum()
    filled = real > 0
    # Level k has the bins from ceil(k * kept / LEVELS) on; in each it spreads what it holds over the bins that have anything.
    starts = -(-np.arange(LEVELS) * kept // LEVELS)
    held, over = np.add.reduceat(inside, starts), np.add.reduceat(filled.astype(np.float64), starts)
    mean = np.divide(held, over, out=np.zeros(LEVELS), where=over > 0)
    quantised = np.repeat(mean, np.diff(starts, append=kept))[filled]
    quantised = np.maximum(quantised, _LITTLE)
    real = real[filled]
    return float(np.sum(real / real.sum() * np.log(real * quantised.sum() / (quantised * real.sum()))))
