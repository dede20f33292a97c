"""What is put under a mask: no place is counted, and the answers are PyTorch's bit by bit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from support.checks.every_size import Graph, floats

VECTOR = torch.arange(8.0)


def rows(size: int) -> torch.Tensor:
    return floats(2, size, 8)


def where(x: torch.Tensor) -> torch.Tensor:
    return x[:, :, 0] > 0.3


def put(x: torch.Tensor, indices: tuple[torch.Tensor, ...], values: object, accumulate: bool = False) -> torch.Tensor:
    return x.index_put(indices, torch.as_tensor(values, dtype=x.dtype), accumulate=accumulate)


def in_place(x: torch.Tensor) -> torch.Tensor:
    """As wav2vec2 does it."""
    h = x * 2
    h[~where(x)] = 0
    return h + 1


def vector(x: torch.Tensor) -> torch.Tensor:
    h = x.clone()
    h[where(x)] = VECTOR
    return h


def behind_an_axis(x: torch.Tensor) -> torch.Tensor:
    h = x.clone()
    h[:, where(x)[0]] = VECTOR
    return h


def whole(x: torch.Tensor) -> torch.Tensor:
    h = x.clone()
    h[x > 0.5] = -1.0
    return h


def in_order(x: torch.Tensor) -> torch.Tensor:
    """Rows of their own: at least as many as there are places."""
    return x.masked_scatter(where(x).unsqueeze(-1), x.flip(1) * 3)


def in_order_in_place(x: torch.Tensor) -> torch.Tensor:
    return x.clone().masked_scatter_(where(x).unsqueeze(-1).expand_as(x), x.flip(1)) + 1


ONE_FOR_ALL: list[Callable[[torch.Tensor], torch.Tensor]] = [
    in_place,
    vector,
    behind_an_axis,
    whole,
    lambda x: put(x, (where(x),), VECTOR[None]),
    lambda x: put(x, (where(x),), VECTOR, True),
    lambda x: put(x, (where(x),), 7),
]


@pytest.mark.parametrize("functions", [ONE_FOR_ALL, [in_order, in_order_in_place]])
def test_no_place_is_counted(functions: list[Callable[[torch.Tensor], torch.Tensor]]) -> None:
    graph = Graph(lambda x: tuple(function(x) for function in functions), 3, 40, rows, axis=1)
    assert graph.wrong([3, 4, 17, 40]) == []
    assert not {"NonZero", "ScatterND", "ScatterElements"} & graph.operators()
    assert ("CumSum" in graph.operators()) == (functions is not ONE_FOR_ALL)


def test_rows_of_their_own_by_index() -> None:
    """As many rows as places, which are one size: the mask covers the first half."""

    def halves(x: torch.Tensor) -> torch.Tensor:
        h = x.clone()
        h[torch.arange(8) < 4] = x[:4] * 2
        return h

    graph = Graph(halves, 3, 20, lambda size: floats(8, size))
    assert graph.wrong([3, 20]) == []
    assert not {"NonZero", "ScatterND"} & graph.operators()


def test_a_mask_of_nothing() -> None:
    graph = Graph(lambda x: x.masked_scatter(x > 1e9, x.reshape(-1)[:0]), 3, 20, rows, axis=1)
    assert graph.wrong([3, 20]) == []


def test_places_by_number_stay_as_they_are() -> None:
    graph = Graph(lambda x: x.index_put((torch.tensor([0, 1]),), torch.zeros(8)), 3, 20, rows, axis=1)
    assert graph.wrong([3, 20]) == []
    assert "ScatterND" in graph.operators()
