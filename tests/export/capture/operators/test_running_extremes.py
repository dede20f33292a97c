"""cummax and cummin at every length, with ties, infinities and what is no number."""

from __future__ import annotations

from typing import Any

import torch
from support.checks.every_size import Graph, floats


def several(x: torch.Tensor) -> Any:
    ties = (x * 2).round()
    return (
        *torch.cummin(x, 1),
        *torch.cummax(ties, -1),
        torch.cummin(ties.to(torch.int32).flip(-1), -1)[0].flip(-1),
    )


def test_every_length() -> None:
    assert Graph(several, 1, 17).wrong() == []


def test_values_that_are_no_numbers() -> None:
    graph = Graph(lambda x: (*torch.cummax(x, -1), *torch.cummin(x, -1)), 3, 12)
    for odd in (float("nan"), float("inf"), -float("inf")):
        x = floats(2, 3, 9)
        x[0, 0, 3] = x[1, 2, 0] = odd
        for got, expected in zip(graph.run(x), graph.expected(x), strict=True):
            torch.testing.assert_close(
                torch.from_numpy(got), torch.from_numpy(expected), rtol=0, atol=0, equal_nan=True
            )
