"""What two beams have in common, held against caches that are lists of entries."""

from __future__ import annotations

import numpy as np
import pytest
from attn_runtime.generate.graphs.common_entries import CommonEntries


@pytest.mark.parametrize("beams", [1, 2, 4])
def test_a_beam_takes_over_all_that_differs_and_no_more(beams: int) -> None:
    rng = np.random.default_rng(beams)
    for _ in range(20):
        prompts = rng.integers(1, 6, 3).tolist()
        common = CommonEntries(prompts, beams)
        entry = iter(range(10**6))  # each one once: rows agree only where one was copied from the other
        rows = [beginning for n in prompts for beginning in [[next(entry) for _ in range(n)]] * beams]
        for _ in range(12):
            rows = [[*row, next(entry)] for row in rows]
            parents = [n * beams + int(on) for n in range(3) for on in rng.integers(0, beams, beams)]
            firsts = common.follow(parents, [len(row) for row in rows])
            for row, (parent, first) in enumerate(zip(parents, firsts, strict=True)):
                alike = [a == b for a, b in zip(rows[row], rows[parent], strict=True)]
                assert alike == [place < first for place in range(len(alike))]
            rows = [rows[parent] for parent in parents]


def test_rows_that_stay_where_they_are_need_nothing() -> None:
    common = CommonEntries([3], 2)
    assert common.follow([0, 1], [5, 5]) == [5, 5]
    assert common.follow([1, 1], [7, 7]) == [3, 7], "they went on from different rows, whatever was read in them"
    assert common.follow([1, 0], [8, 8]) == [7, 7]
