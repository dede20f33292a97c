"""Functions of single indices at all indices: PyTorch's vmap, and refusals where that would be another thing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from attn_export.capture.equivalents import all_indices
from attn_runtime.errors import CaptureError
from torch.nn.attention.flex_attention import create_mask

SIZES = (2, 3, 4, 5)
ROWS = torch.randint(0, 3, (2, 5), generator=torch.Generator().manual_seed(0))
TABLE = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(1)) > 0.5

MODS: dict[str, Callable[..., Any]] = {
    "comparison": lambda b, h, i, j: (i >= j) & ~(i - j > 2) | (h == 0),
    "numbers first": lambda b, h, i, j: 2 ** (-(h + 1)) * (3 - j) < 1 / (1 + i),
    "looked up": lambda b, h, i, j: ROWS[b, i] == ROWS[b, j],
    "looked up in steps": lambda b, h, i, j: ROWS[b][i] == ROWS[b][j],
    "a whole table": lambda b, h, i, j: TABLE[b, h, i, j],
    "a table in steps": lambda b, h, i, j: TABLE[b, h][i, j],
    "a fixed row": lambda b, h, i, j: ROWS[1, j] > i,
    "a row, then arithmetic": lambda b, h, i, j: (ROWS[b] * 2 + i)[j] > 3,
    "trailing axes": lambda b, h, i, j: TABLE[b, ...][h, i, j] & TABLE[b, :, :, :][h][i][j],
    "functions": lambda b, h, i, j: torch.where(i > j, torch.minimum(i, j) // 2, j % 2).float().clamp(max=1) > 0.5,
    "new_ones": lambda b, h, i, j: b.new_ones((), dtype=torch.bool) & (j > 0),
}


@pytest.mark.parametrize("mod", MODS.values(), ids=MODS)
def test_it_is_what_vmap_gives(mod: Callable[..., Any]) -> None:
    got = all_indices(mod, SIZES, torch.device("cpu"))
    assert torch.equal(got.expand(SIZES), create_mask(mod, *SIZES, device="cpu"))


def test_an_axis_that_is_not_used_stays_of_size_1() -> None:
    assert all_indices(lambda b, h, i, j: i >= j, SIZES, torch.device("cpu")).shape == (1, 1, 4, 5)
    assert all_indices(lambda b, h, i, j: b.new_ones(()), SIZES, torch.device("cpu")).shape == (1, 1, 1, 1)


def test_scores_go_in_first() -> None:
    scores = torch.randn(SIZES)
    got = all_indices(lambda s, b, h, i, j: s * 2 + (i - j), SIZES, torch.device("cpu"), scores)
    assert torch.equal(got, scores * 2 + (torch.arange(4)[:, None] - torch.arange(5)))


def branch(b: Any, h: Any, i: Any, j: Any) -> Any:
    return i if h == 0 else j


@pytest.mark.parametrize(
    ("mod", "says"),
    [
        (branch, r"test_by_index.py:\d+ branches on an index or a score"),
        (lambda b, h, i, j: ROWS[int(b), i], "makes a Python number"),
        (lambda b, h, i, j: i.item() > j, "calls item"),
        (lambda b, h, i, j: ROWS[b].sum() > j, "calls sum"),
        (lambda b, h, i, j: torch.sort(i) > j, "calls sort"),
        (lambda b, h, i, j: ROWS[i > j], "indexes a tensor by more than numbers"),
        (lambda b, h, i, j: ROWS[:, i], "indexes a tensor by more than numbers"),
        (lambda b, h, i, j: ROWS[b], "returns a _All, not one number"),
        (lambda b, h, i, j: True, "returns a bool, not one number"),
    ],
)
def test_what_would_be_another_thing_is_refused(mod: Callable[..., Any], says: str) -> None:
    with pytest.raises(
        CaptureError, match=f"^flex_attention: its score_mod or mask_mod.*{says}.*torch.where for a branch"
    ):
        all_indices(mod, SIZES, torch.device("cpu"))
