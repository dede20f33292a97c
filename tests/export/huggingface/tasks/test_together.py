"""Inputs that come together: boxes with an inside, and as many ends of texts in each row, the last where its mask ends."""

from __future__ import annotations

import numpy as np
import pytest
from attn_export.huggingface.tasks.together import Together

RANDOM = np.random.default_rng(0)


def test_a_box_ends_behind_its_beginning() -> None:
    boxes = RANDOM.integers(0, 50, (3, 7, 4))
    made = Together()({"bbox": boxes})["bbox"]
    assert (made[..., :2] <= made[..., 2:]).all()
    assert (np.sort(made[..., ::2]) == np.sort(boxes[..., ::2])).all(), "the same numbers, in order"


@pytest.mark.parametrize(
    ("mask", "places"),
    [
        (None, [[0, 4], [0, 4]]),
        ([[1, 1, 1, 1, 1], [1, 1, 0, 1, 0]], [[0, 4], [0, 3]]),
        ([[1, 1, 1, 1, 1], [1, 0, 0, 0, 0]], [[4], [0]]),  # no room for two in the second row
        ([[1], [1]], [[0], [0]]),
    ],
)
@pytest.mark.parametrize("end", [0, 2])
def test_each_text_ends_where_its_mask_does(end: int, mask: list[list[int]] | None, places: list[list[int]]) -> None:
    tokens = RANDOM.integers(0, 4, (2, 5 if mask is None else len(mask[0])))
    drawn = {"input_ids": tokens} if mask is None else {"input_ids": tokens, "attention_mask": np.array(mask, bool)}
    before = tokens.copy()
    made = Together(end)(drawn)["input_ids"]
    assert [np.flatnonzero(row == end).tolist() for row in made] == places
    assert (tokens == before).all() and (made >= 0).all()
