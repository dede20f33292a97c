"""Operators that the exporter translates in some of their calls alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.checks.every_size import Graph, floats


def several(x: torch.Tensor) -> Any:
    size = x.shape[-1]
    boundaries, rows = torch.linspace(-2, 2, 9), x[..., :3].sort(-1)[0]
    ints = (x * 2).floor()
    edges = torch.arange(-2.0, 3)
    return (
        torch.roll(x, size // 3, -1),
        x.roll((2 - size, 7), (2, 1)),
        torch.roll(x, 9, 2),
        x.amax(),
        torch.amin(x, keepdim=True),
        torch.searchsorted(boundaries, x),
        torch.searchsorted(rows.contiguous(), x, right=True),
        torch.searchsorted(edges, ints, side="right", out_int32=True),
        torch.searchsorted(edges, ints),
        torch.searchsorted(edges.flip(0).contiguous(), ints, sorter=torch.arange(4, -1, -1)),
        torch.isin(ints, edges[::2]),
        torch.isin(ints.long(), torch.arange(size) - 3, invert=True),
        torch.isin(ints, 1.0),
    )


def test_every_size() -> None:
    graph = Graph(several, 5, 40)
    assert graph.wrong() == []


def put_first(x: torch.Tensor) -> Any:
    x = x.clone()
    x[:, 0, 0] = x[:, 1:2, 1:2].squeeze()
    return x


def test_a_batch_of_one_row_keeps_its_axis() -> None:
    graph = Graph(put_first, 1, 8, lambda size: floats(size, 3, 3), axis=0)
    assert graph.wrong([1, 2, 8]) == []


def test_a_check_of_a_whole_tensor() -> None:
    def checked(x: torch.Tensor) -> Any:
        torch._check_tensor_all(x < 100)
        return x + 1

    assert Graph(checked, 3, 40).wrong() == []


def test_values_that_are_no_numbers() -> None:
    def sought(x: torch.Tensor) -> Any:
        return torch.searchsorted(torch.arange(-2.0, 3), x), x.amax()

    graph = Graph(sought, 3, 40)
    x = floats(2, 3, 6)
    x[0, 0, :3] = torch.tensor([torch.nan, torch.inf, -torch.inf])
    expected, got = graph.expected(x)[0], graph.run(x)[0]
    assert (expected == got).all()


def test_without_them_there_is_no_translation() -> None:
    with pytest.raises(Exception, match="(?s)amax|translat"):
        Graph(lambda x: x.amax(), 3, 40, skip=["written-out"])


def test_a_roll_within_reach_stays_the_exporters() -> None:
    assert "written-out" not in Graph(lambda x: torch.roll(x, -2, 2), 3, 40).told


def test_quotients_of_negative_sizes() -> None:
    """Python rounds them down, and the exporter's Div towards zero."""

    def rounded(x: torch.Tensor) -> Any:
        size = x.shape[-1]
        return tuple(torch.full((1,), n) for n in (-(-size // 4), (size - 21) // 4, -size // 7, (size - 3) // 2))

    assert Graph(rounded, 3, 40).wrong() == []
    assert {n for _, n in Graph(rounded, 3, 40, skip=["written-out"]).wrong()} == {0, 1, 2}
