"""Decompositions that the exporter lacks."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from attn_export.capture.equivalents.decomposition_table import diagonal_scatter
from attn_runtime.compare import Tolerance
from support.checks.every_size import Graph, floats


@pytest.mark.parametrize("shape", [(3, 5, 4), (5, 3, 4), (2, 6, 6, 3)])
def test_diagonal_scatter_is_pytorchs(shape: tuple[int, ...]) -> None:
    for first, second in itertools.permutations(range(len(shape)), 2):
        for offset in range(1 - shape[first], shape[second]):
            x = floats(*shape)
            source = floats(*x.diagonal(offset, first, second).shape)
            expected = torch.diagonal_scatter(x, source, offset, first, second)
            assert torch.equal(diagonal_scatter(x, source, offset, first, second), expected)


def forms(x: torch.Tensor) -> Any:
    size = x.shape[-1]
    filled, added = (x.unsqueeze(-1) * x.unsqueeze(-2) for _ in range(2))
    filled.diagonal(dim1=2, dim2=3).fill_(-9.0)
    added.diagonal(dim1=-2, dim2=-1).add_(x)
    mask = (x > 0).long()
    keep = x > 0.5
    places = torch.arange(size)
    return (
        filled,
        added,
        (1.0 - mask) * -1e4,
        torch.rsub(mask, 0.5, alpha=2),
        keep + (x < -0.5),
        size - x,
        size * 0.5 - places,
        places * (1 / size) + places / (size / 3) + (places + 0.5 * size) - (places - size / 7),
    )


@pytest.fixture(scope="module")
def graph() -> Graph:
    return Graph(forms, 1, 20)


def test_forms_are_pytorchs(graph: Graph) -> None:
    assert graph.wrong([1, 2, 7, 20], Tolerance()) == []


def rotated(x: torch.Tensor) -> torch.Tensor:
    """Rotary places as complex numbers, which heads share."""
    pairs = torch.view_as_complex(torch.stack([x, x.flip(-1)], -1))
    angles = x[:, 0]
    turned = torch.view_as_complex(torch.stack([angles.cos(), angles.sin()], -1))
    return torch.view_as_real(pairs * turned.unsqueeze(1)).flatten(-2)


@pytest.fixture(scope="module")
def rotary() -> Graph:
    return Graph(rotated, 1, 20)


def test_complex_numbers_get_an_axis(rotary: Graph) -> None:
    assert rotary.wrong([1, 2, 7, 20], Tolerance()) == []


def boolean_sum(x: torch.Tensor) -> torch.Tensor:
    return (x > 0) + (x < 1)


def diagonal(x: torch.Tensor) -> torch.Tensor:
    square = x.unsqueeze(-1) * x.unsqueeze(-2)
    square.diagonal(dim1=2, dim2=3).fill_(0)
    return square


def from_a_number(x: torch.Tensor) -> torch.Tensor:
    return 1.0 - (x > 0).long()


@pytest.mark.parametrize("function", [boolean_sum, diagonal, from_a_number, rotated])
def test_without_them_there_is_no_graph(function: Any) -> None:
    with pytest.raises(
        Exception, match=r"functional graph|compatible OpOverload|tensor\(bool\)|decompose|convert|translat"
    ):
        Graph(function, 2, 6, skip=["written-out"])
