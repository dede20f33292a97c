"""Scales: positive, of float16, and the best of those that are tried."""

from __future__ import annotations

import numpy as np
import pytest
from attn_export.precision.quantised.rounding.integer_grid import GRIDS, LEAST, as_float16

BLOCKS = np.random.default_rng(0).standard_normal((3, 32, 50)).astype(np.float32)


def loss(bits: int, w: np.ndarray, scales: np.ndarray) -> np.ndarray:
    return ((w - GRIDS[bits].rounded(w, scales) * scales) ** 2).sum(axis=1)


@pytest.mark.parametrize("bits", GRIDS)
def test_to_nearest_no_weight_moves_by_more_than_half_a_step(bits: int) -> None:
    grid = GRIDS[bits]
    scales = grid.of_largest(BLOCKS)
    np.testing.assert_allclose(np.abs(BLOCKS).max(axis=1, keepdims=True) / scales, {4: 7.5, 8: 127}[bits], rtol=1e-3)
    moved = np.abs(BLOCKS - grid.rounded(BLOCKS, scales) * scales) / scales
    assert moved.max() < 0.5 + grid.reach * 2.0**-11, "but for the rounding of a scale to float16"


@pytest.mark.parametrize("bits", GRIDS)
def test_integers_keep_to_their_bits(bits: int) -> None:
    grid = GRIDS[bits]
    q = grid.rounded(BLOCKS, grid.of_largest(BLOCKS) / 2)
    assert (q.min(), q.max()) == (grid.low, grid.high)


def test_a_search_is_never_worse_and_mostly_better() -> None:
    grid = GRIDS[4]
    nearest, searched = (loss(4, BLOCKS, scales) for scales in (grid.of_largest(BLOCKS), grid.searched(BLOCKS)))
    assert (searched <= nearest).all()
    assert searched.sum() < 0.85 * nearest.sum()


def test_a_search_finds_the_least_loss_there_is() -> None:
    grid = GRIDS[4]
    every = np.linspace(0.4, 1.2, 4001, dtype=np.float32)
    least = np.min([loss(4, BLOCKS, as_float16(grid.of_largest(BLOCKS) * share)) for share in every[::8]], axis=0)
    assert loss(4, BLOCKS, grid.searched(BLOCKS)).sum() < 1.002 * least.sum()


def test_one_weight_that_is_far_out_is_cut_off() -> None:
    w = np.random.default_rng(3).standard_normal((1, 1024, 1)).astype(np.float32)
    w[0, 5] = 9
    grid = GRIDS[4]
    assert grid.searched(w).item() < 0.8 * grid.of_largest(w).item()


def test_scales_are_positive_numbers_of_float16() -> None:
    given = np.array([0.0, 1e-30, 0.9 * LEAST, 1 / 3, 1000.3], np.float32)
    scales = as_float16(given)
    assert scales.tolist() == [1.0, LEAST, LEAST, float(np.float16(1 / 3)), 1000.5]
    assert scales.dtype == np.float32


@pytest.mark.parametrize("bits", GRIDS)
def test_zeros_have_a_scale_and_tiny_weights_too(bits: int) -> None:
    w = np.zeros((2, 4, 1), np.float32)
    w[1] = 1e-12
    scales = GRIDS[bits].searched(w)
    assert scales.ravel().tolist() == [1.0, LEAST]
    assert not GRIDS[bits].rounded(w, scales).any()
