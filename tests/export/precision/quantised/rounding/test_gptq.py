"""Rounding that compensates: against its formulas, written out plainly, and against every single change of an integer."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from attn_export.precision.quantised.rounding.gptq import compensated, damped, descended, inverse_factor
from attn_export.precision.quantised.rounding.integer_grid import GRIDS

GRID = GRIDS[4]


def drawn(inputs: int, outputs: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A weight, and the damped second moment of inputs that go together."""
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((4 * inputs, inputs)) @ (
        draw.standard_normal((inputs, inputs)) * np.geomspace(1, 0.03, inputs)[:, None]
    )
    return draw.standard_normal((inputs, outputs)).astype(np.float32), damped(x.T @ x / len(x))


def weights(q: np.ndarray, scales: np.ndarray) -> np.ndarray:
    return q * np.repeat(scales[:, 0], len(q) // len(scales), axis=0)


def loss(w: np.ndarray, q: np.ndarray, scales: np.ndarray, moment: np.ndarray) -> float:
    error = w.astype(np.float64) - weights(q, scales)
    return float((error * (moment @ error)).sum())


def plain(w: np.ndarray, block: int, moment: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Optimal brain surgery, row by row: an error in row k moves the rows behind by inv[k] / inv[k, k], and k is eliminated."""
    w, inverse = w.astype(np.float64), np.linalg.inv(moment)
    q, scales = np.zeros_like(w), []
    for k in range(len(w)):
        if k % block == 0:
            scales.append(GRID.searched(w[None, k : k + block].astype(np.float32))[0])
        q[k] = GRID.rounded(w[k].astype(np.float32), scales[-1][0])
        error = (w[k] - q[k] * scales[-1][0]) / inverse[k, k]
        w[k + 1 :] -= np.outer(inverse[k + 1 :, k], error)
        inverse -= np.outer(inverse[:, k], inverse[k]) / inverse[k, k]
    return q, np.array(scales)


@pytest.mark.parametrize(("inputs", "block"), [(64, 16), (288, 96), (320, 32), (200, 200)])
def test_gathered_corrections_are_those_of_one_row_after_the_other(inputs: int, block: int) -> None:
    w, moment = drawn(inputs, 12)
    q, scales = compensated(w, block, GRID, inverse_factor(moment))
    expected, expected_scales = plain(w, block, moment)
    np.testing.assert_array_equal(q, expected)
    np.testing.assert_array_equal(scales, expected_scales)


@pytest.mark.parametrize(("inputs", "block"), [(48, 4), (288, 96), (288, 32), (160, 160)])
def test_each_pass_lowers_the_error(inputs: int, block: int) -> None:
    w, moment = drawn(inputs, 12)
    q, scales = compensated(w, block, GRID, inverse_factor(moment))
    losses = [loss(w, q, scales, moment)]
    for _ in range(10):
        q, scales = descended(w, q, scales, GRID, moment.astype(np.float32), passes=1)
        losses.append(loss(w, q, scales, moment))
    # What is left of the sixth digit is the rounding of float32.
    assert all(later <= earlier * (1 + 1e-6) for earlier, later in pairwise(losses))
    assert losses[1] < 0.99 * losses[0]
    assert GRID.low <= q.min() and q.max() <= GRID.high and (q == np.rint(q)).all()
    assert (scales == scales.astype(np.float16)).all() and (scales > 0).all()


def test_there_are_two_passes() -> None:
    w, moment = drawn(64, 12)
    start = compensated(w, 16, GRID, inverse_factor(moment))
    once, twice, by_default = (
        loss(w, *descended(w, *start, GRID, moment.astype(np.float32), *passes), moment) for passes in ([1], [2], [])
    )
    assert once > twice == by_default


def test_passes_end_where_no_change_of_one_integer_is_better() -> None:
    w, moment = drawn(24, 5)
    start = compensated(w, 8, GRID, inverse_factor(moment))
    q, scales = descended(w, *start, GRID, moment.astype(np.float32), passes=40)
    least = loss(w, q, scales, moment)
    for k in range(24):
        for other in range(GRID.low, GRID.high + 1):
            changed = q.copy()
            changed[k] = other
            for n in range(5):
                alone = np.where(np.arange(5) == n, changed, q)
                assert loss(w, alone, scales, moment) > least - 1e-6 * least


def test_what_was_given_is_left_alone() -> None:
    w, moment = drawn(32, 4)
    before = w.copy()
    q, scales = compensated(w, 8, GRID, inverse_factor(moment))
    kept = q.copy(), scales.copy()
    descended(w, q, scales, GRID, moment.astype(np.float32))
    for found, expected in ((w, before), (q, kept[0]), (scales, kept[1])):
        np.testing.assert_array_equal(found, expected)


def test_inputs_that_are_never_anything_but_zero() -> None:
    moment = np.zeros((6, 6))
    np.testing.assert_array_equal(damped(moment), np.eye(6))
    moment[0, 0] = 6.0
    assert np.linalg.eigvalsh(damped(moment)).min() > 0
    assert moment[1, 1] == 0, "not in place"


def test_fewer_samples_are_trusted_less() -> None:
    moment = np.diag(np.arange(1.0, 9.0))
    added = [np.diag(damped(moment, samples) - moment) / moment.diagonal().mean() for samples in (None, 80, 8, 2)]
    np.testing.assert_allclose(added, np.outer([0.05, 0.06, 0.15, 0.45], np.ones(8)))
