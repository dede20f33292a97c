"""Thresholds of distributions whose answers are known."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from attn_export.precision.calibration.histogram import BINS, TensorStatistics
from attn_export.precision.calibration.thresholds import LEVELS, entropy_threshold, percentile_threshold

RNG = np.random.default_rng(0)
NORMAL = RNG.standard_normal(1_000_000, dtype=np.float32)
#: Eight of a million are a hundred times as large as the rest.
OUTLIERS = NORMAL.copy()
OUTLIERS[:8] = 100.0
LAPLACE = RNG.laplace(size=1_000_000).astype(np.float32)
UNIFORM = RNG.uniform(-1, 1, 1_000_000).astype(np.float32)


def statistics(values: np.ndarray) -> TensorStatistics:
    found = TensorStatistics()
    found.add(values)
    return found


# --- percentile ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("percentile", [99.0, 99.9, 99.99])
@pytest.mark.parametrize(
    ("values", "quantile"),
    [
        (NORMAL, lambda share: NormalDist().inv_cdf((1 + share) / 2)),
        (LAPLACE, lambda share: -math.log(1 - share)),
        (UNIFORM, lambda share: share),
    ],
    ids=["normal", "laplace", "uniform"],
)
def test_a_percentile_is_that_of_the_distribution(values, quantile, percentile: float) -> None:
    found = percentile_threshold(statistics(values), percentile)
    assert found == pytest.approx(quantile(percentile / 100), rel=0.04)  # of 100 values in the tail, one in ten is luck


@pytest.mark.parametrize("percentile", [50.0, 90.0, 99.9, 99.99, 100.0])
@pytest.mark.parametrize("values", [NORMAL, OUTLIERS, LAPLACE])
def test_it_is_the_smallest_bound_that_keeps_the_share(values: np.ndarray, percentile: float) -> None:
    found, magnitudes = percentile_threshold(statistics(values), percentile), np.abs(values)
    width = magnitudes.max() / (BINS / 2)
    kept = math.ceil(round(percentile / 100 * len(values), 6))
    assert np.count_nonzero(magnitudes <= found) >= kept
    assert np.count_nonzero(magnitudes <= found - 2 * width) < kept


def test_all_of_them_is_the_largest() -> None:
    assert percentile_threshold(statistics(OUTLIERS), 100.0) == 100.0


def test_outliers_are_clipped_where_the_percentile_says_so() -> None:
    found = statistics(OUTLIERS)
    assert percentile_threshold(found, 99.99) == pytest.approx(3.9, abs=0.1)
    assert percentile_threshold(found, 99.9999) == 100.0


def test_zeros_do_not_count() -> None:
    """One value in ten thousand of a one-hot row is the only one that matters."""
    sparse = np.zeros(1_000_000, np.float32)
    sparse[::20_000] = 1.0
    assert percentile_threshold(statistics(sparse), 99.99) == 1.0
    relu = np.maximum(NORMAL, 0)
    assert percentile_threshold(statistics(relu), 99.9) == percentile_threshold(statistics(relu[relu > 0]), 99.9)


# --- entropy ------------------------------------------------------------------------------------------------------------


def slow_divergence(counts: list[float], kept: int) -> float:
    """Word by word what `entropy_threshold` says, in loops."""
    real = counts[:kept]
    real[-1] += sum(counts[kept:])
    quantised = [0.0] * kept
    for level in range(LEVELS):
        bins = [b for b in range(kept) if b * LEVELS // kept == level]
        filled = [b for b in bins if real[b]]
        for b in filled:
            quantised[b] = max(1e-4, sum(counts[i] for i in bins) / len(filled))
    return sum(
        r / sum(real) * math.log(r / sum(real) / (q / sum(quantised)))
        for r, q in zip(real, quantised, strict=True)
        if r
    )


def test_no_other_threshold_diverges_less() -> None:
    values = RNG.standard_t(3, 20_000).astype(np.float32)
    found = statistics(values)
    assert found.counts is not None
    counts = found.counts.reshape(-1, 2).sum(1).astype(float).tolist()
    counts[0] = min(counts[0], counts[1])
    used = max(n for n, c in enumerate(counts) if c) + 1
    width = math.ldexp(2, found.exponent) / BINS
    chosen = round(entropy_threshold(found) / width)
    assert LEVELS < chosen < used - 100
    least = slow_divergence(counts[:used], chosen)
    first = next(n for n in range(used) if sum(counts[:n]) >= 0.9 * sum(counts))
    looked_at = range(max(LEVELS, first), used, 37)
    # Candidates lie 8 bins apart: between two of them it may be a little less.
    assert least <= min(slow_divergence(counts[:used], kept) for kept in looked_at) * 1.02


def test_heavy_tails_are_clipped_and_light_ones_are_not() -> None:
    heavy = statistics(RNG.standard_t(3, 1_000_000).astype(np.float32))
    assert heavy.largest > 80 and 10 < entropy_threshold(heavy) < 40
    assert entropy_threshold(statistics(OUTLIERS)) == pytest.approx(4.7, abs=0.7)
    assert entropy_threshold(statistics(NORMAL)) == pytest.approx(4.6, abs=0.4)
    assert entropy_threshold(statistics(UNIFORM)) == pytest.approx(1.0, abs=0.01)


def test_scale_moves_the_threshold_and_nothing_else() -> None:
    one, other = (entropy_threshold(statistics(LAPLACE * np.float32(s))) for s in (1.0, 1024.0))
    assert other == one * 1024


def test_values_far_from_zero_are_not_all_put_into_one_bin() -> None:
    """A single bin has no divergence from itself, wherever it lies."""
    assert entropy_threshold(statistics(5 + NORMAL * np.float32(0.1))) > 5.1


def test_what_lies_at_zero_does_not_decide() -> None:
    """Nine in ten values of a row of attention are next to nothing."""
    mixed = np.concatenate([NORMAL, np.full(9_000_000, 1e-6, np.float32)])
    assert entropy_threshold(statistics(mixed)) == pytest.approx(entropy_threshold(statistics(NORMAL)), rel=0.1)


@pytest.mark.parametrize("value", [1.0, -1.0, 1e-30, 3.7e20])
def test_one_value_is_its_own_threshold(value: float) -> None:
    found = statistics(np.full(10, value, np.float32))
    assert entropy_threshold(found) == percentile_threshold(found, 99.99) == abs(np.float32(value))
