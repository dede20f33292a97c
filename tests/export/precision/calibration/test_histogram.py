"""What is kept of a tensor, however its values come."""

from __future__ import annotations

import math

import numpy as np
import pytest
from attn_export.precision.calibration.histogram import BINS, TensorStatistics


def added(*parts: np.ndarray) -> TensorStatistics:
    found = TensorStatistics()
    for part in parts:
        found.add(part)
    return found


def expected(values: np.ndarray) -> tuple[np.ndarray, int]:
    """numpy's histogram of the magnitudes that are not zero, to the power of two above the largest."""
    magnitudes = np.abs(values.astype(np.float64).ravel())
    exponent = math.frexp(magnitudes.max())[1]
    edges = np.arange(BINS + 1) * math.ldexp(1, exponent) / BINS
    return np.histogram(magnitudes[magnitudes > 0], edges)[0], exponent


@pytest.mark.parametrize("scale", [1e-20, 1e-3, 1.0, 1e20])
def test_it_counts_what_numpy_counts(scale: float) -> None:
    values = (np.random.default_rng(0).standard_normal((70, 40, 100)) * scale).astype(np.float32)
    values[0] = 0
    found = added(values)
    counts, exponent = expected(values)
    np.testing.assert_array_equal(found.counts, counts)
    assert (found.low, found.high, found.exponent) == (values.min(), values.max(), exponent)


def test_the_order_of_samples_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    parts = [(rng.standard_normal(1000) * 10.0**n).astype(np.float32) for n in (-3, 3, 0, -9, 1)]
    counts, exponent = expected(np.concatenate(parts))
    for order in (parts, parts[::-1], sorted(parts, key=lambda p: np.abs(p).max())):
        found = added(*order)
        np.testing.assert_array_equal(found.counts, counts)
        assert found.exponent == exponent


def test_its_size_does_not_grow() -> None:
    found = added(np.full(3, 1e-30, np.float32), np.full(2, 1e29, np.float32))
    assert found.counts is not None and found.counts.shape == (BINS,) and found.counts.sum() == 5
    assert found.counts[0] == 3


@pytest.mark.parametrize("odd", [np.inf, -np.inf, np.nan, -3.4028235e38, 1e30, -1e30])
def test_what_is_no_number_or_stands_for_infinity_is_left_out(odd: float) -> None:
    values = np.array([odd, -2.0, odd, 1.0, 0.0], np.float32)
    found = added(values, np.array([odd], np.float32))
    assert (found.low, found.high, found.largest) == (-2.0, 1.0, 2.0)
    assert found.counts is not None and found.counts.sum() == 2


def test_a_number_just_below_is_meant() -> None:
    assert added(np.array([9e29], np.float32)).high == np.float32(9e29)


def test_of_nothing_there_is_nothing() -> None:
    found = added(np.zeros((0, 4), np.float32), np.array([np.nan], np.float32))
    assert (found.low, found.high, found.largest) == (math.inf, -math.inf, -math.inf)


def test_half_precision_and_views_are_taken_as_they_are() -> None:
    values = np.random.default_rng(2).standard_normal((30, 20)).astype(np.float16)
    np.testing.assert_array_equal(added(values.T[::2]).counts, expected(values.T[::2])[0])


def test_without_a_histogram_the_ends_are_the_same() -> None:
    found = TensorStatistics(counts=None)
    found.add(np.array([-1.0, 3.0, np.nan], np.float32))
    assert (found.low, found.high, found.counts) == (-1.0, 3.0, None)
