"""The largest of many numbers, held against a sort of all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from attn_runtime.generate.topk import largest, largest_sums
from numpy.typing import NDArray


def test_the_largest_are_in_an_order_of_their_own() -> None:
    values = np.array([1.0, 3.0, 2.0, 3.0, 2.0, 2.0, -np.inf])
    assert largest(values, 4).tolist() == [1, 3, 2, 4]
    assert largest(values, 7).tolist() == [1, 3, 2, 4, 5, 0, 6]
    many = np.tile([0.0, 1.0], 200)  # so many that an unstable sort would mix them
    assert largest(many, 300).tolist() == [*range(1, 400, 2), *range(0, 200, 2)]


def sorted_sums(
    logits: NDArray[Any], totals: NDArray[np.float64], sums: NDArray[np.float64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """What `largest_sums` answers, by a stable sort of every sum."""
    every = (logits.astype(np.float64) - totals[:, :, None]) + sums[:, :, None]
    by_token = every.transpose(0, 2, 1).reshape(len(logits), -1)
    places = np.argsort(-by_token, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(by_token, places, 1), places


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    return rng.standard_normal(shape) * 3


def tied(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    """Few different numbers, and the beams of a row alike."""
    return np.repeat(np.round(rng.standard_normal((shape[0], 1, shape[2])) * 2), shape[1], 1)


def equal(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    return np.full(shape, float(np.round(rng.standard_normal(), 1)))


def forbidden(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    """All but a few a row, or none at all."""
    found = np.full(shape, -np.inf)
    few = rng.random(shape) < 3 / (shape[1] * shape[2])
    found[few] = rng.standard_normal(int(few.sum()))
    return found


def extreme(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    """The largest, smallest and subnormal numbers of float32, and zeros of both signs."""
    of = np.finfo(np.float32)
    return rng.choice(np.array([of.max, of.min, 1e30, -1e30, of.tiny, of.smallest_subnormal, 0.0, -0.0, 1.0]), shape)


def close(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    """Neighbours in float32, whose sums are neighbours or one and the same."""
    return (1 + rng.integers(0, 40, shape) * np.finfo(np.float32).eps).astype(np.float32)


def descending(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    """The largest ones together, as frequent words often have the first tokens."""
    return np.sort(rng.standard_normal(shape), 2)[:, :, ::-1]


LOGITS = [normal, tied, equal, forbidden, extreme, close, descending]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("draw", LOGITS, ids=lambda draw: draw.__name__)
def test_the_largest_sums_are_those_of_a_sort_bit_for_bit(draw: Any, dtype: str) -> None:
    rng = np.random.default_rng(LOGITS.index(draw))
    for tokens in (2, 7, 31, 32, 33, 100, 1000, 5003):
        for beams, stops in ((1, 0), (2, 1), (4, 1), (5, 3)):
            logits = draw(rng, (3, beams, tokens)).astype(dtype)
            count = max(2, 1 + stops) * beams
            totals = np.round(rng.standard_normal((3, beams)) * 4, int(rng.integers(0, 8)))
            sums = -np.round(rng.random((3, beams)) * 9, int(rng.integers(0, 8)))
            sums[0, 1:] = -1.0e9  # beams that are not there yet: one number for many logits
            sums[1, beams // 2 :] = -np.inf  # beams that may not go on
            totals[2], sums[2] = totals[2, 0], sums[2, 0]
            values, places = largest_sums(logits, totals, sums, count)
            wanted = sorted_sums(logits, totals, sums, count)
            np.testing.assert_array_equal(places, wanted[1])
            np.testing.assert_array_equal(values, wanted[0])


def test_sums_that_are_equal_by_rounding_alone_are_all_found() -> None:
    """Beside a sum of 1e9 float64 has steps of 1.2e-7, and the lower of two logits in one step may have the lower token."""
    logits = np.full((1, 2, 1000), -50, np.float32)
    quarter = np.float32(0.25)
    logits[0, 1, [10, 500, 900]] = quarter, np.nextafter(quarter, np.float32(1)), quarter
    values, places = largest_sums(logits, np.zeros((1, 2)), np.array([[-np.inf, -1.0e9]]), 2)
    assert len(set(values[0].tolist())) == 1 and (places // 2).tolist() == [[10, 500]]
