"""Reductions by scattering, for every reduction, with the destination and without."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from attn_runtime.compare import Tolerance
from support.checks.every_size import Graph, floats


def index(x: torch.Tensor) -> torch.Tensor:
    """[2, 3, T] in 0..4, of the 8 places."""
    return (x * 7).abs().long() % 5


class Reduced(torch.nn.Module):
    def __init__(self, reduce: str, include_self: bool) -> None:
        super().__init__()
        self.how: dict[str, Any] = {"reduce": reduce, "include_self": include_self}

    def forward(self, x: torch.Tensor) -> Any:
        start, at = torch.ones(2, 3, 8), index(x)
        whole = (x * 9).long()
        answers = [
            start.scatter_reduce(-1, at, x, **self.how),
            torch.scatter_reduce(start.transpose(1, 2), 1, at.transpose(1, 2), x.transpose(1, 2), **self.how),
            start.clone().scatter_reduce_(2, at, x, **self.how),
            start.long().scatter_reduce(2, at, whole, **self.how),
        ]
        if self.how["reduce"] != "sum":
            answers.append(start.index_reduce(2, at[0, 0], x, **self.how))
            answers.append(start.clone().index_reduce_(-1, at[0, 0], x, **self.how))
        return tuple(answers)


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize(
    "reduce",
    ["mean", "amax", pytest.param("amin", marks=pytest.mark.full), "prod", pytest.param("sum", marks=pytest.mark.full)],
)
def test_reductions(reduce: str, include_self: bool) -> None:
    graph = Graph(Reduced(reduce, include_self), 6, 40)
    assert graph.wrong([6, 7, 20, 40], Tolerance()) == []


def test_the_exporter_scatters_a_mean_without_reducing() -> None:
    plain = Graph(lambda x: torch.ones(2, 3, 8).scatter_reduce(2, index(x), x, "mean"), 6, 40, skip=["written-out"])
    assert len(plain.wrong(None, Tolerance())) == 35


@pytest.mark.parametrize("skip", [["written-out"], []])
def test_a_maximum_of_masked_values_is_minus_infinity(skip: list[str]) -> None:
    def masked(x: torch.Tensor) -> torch.Tensor:
        scores = x.masked_fill(index(x) == 2, -torch.inf)
        return torch.zeros(2, 3, 8).scatter_reduce(2, index(x), scores, "amax", include_self=False)

    graph = Graph(masked, 6, 40, skip=skip)
    assert bool(graph.wrong([40])) == bool(skip)
    assert (graph.expected(floats(2, 3, 40))[0] == -torch.inf).any()
