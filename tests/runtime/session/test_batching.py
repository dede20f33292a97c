"""Rows in a row with equal keys are one batch."""

from __future__ import annotations

import pytest
from attn_runtime.session import batches


@pytest.mark.parametrize(
    ("lengths", "most", "expected"),
    [([5, 5, 5, 3], 2, [[0, 1], [2], [3]]), ([5], 8, [[0]]), ([3, 5, 3], 8, [[0], [1], [2]])],
)
def test_equal_lengths_in_a_row_are_one_batch(lengths: list[int], most: int, expected: list[list[int]]) -> None:
    assert batches(lengths, most) == expected
