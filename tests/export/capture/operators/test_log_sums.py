"""Logarithms of sums at magnitudes where exp overflows or vanishes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from attn_runtime.compare import Tolerance
from support.checks.every_size import Graph, floats


def log_sums(x: torch.Tensor) -> Any:
    other = x.flip(1)
    return (
        x.logcumsumexp(-1),
        torch.logcumsumexp(x, 1),
        torch.logaddexp(x, other),
        torch.logaddexp2(x, other),
        F.logsigmoid(x),
        F.binary_cross_entropy_with_logits(x, other.sigmoid(), reduction="none"),
    )


@pytest.fixture(scope="module")
def graph() -> Graph:
    return Graph(log_sums, 6, 60)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 100.0, 1000.0])
def test_magnitudes(graph: Graph, scale: float) -> None:
    graph.of_size = lambda size: floats(2, 3, size) * scale
    assert graph.wrong([6, 7, 8, 31, 32, 33, 60], Tolerance()) == []


def test_the_exporters_own_forms_overflow() -> None:
    plain = Graph(log_sums, 6, 60, of_size=lambda size: floats(2, 3, size) * 100, skip=["written-out"])
    assert {n for _, n in plain.wrong([33], Tolerance())} == set(range(6))


def test_infinities(graph: Graph) -> None:
    x = floats(2, 3, 40) * 50
    x[x > 60] = -torch.inf
    x[0, 0, :3] = -torch.inf
    x[1] = -torch.inf
    x[0, 2, 5] = torch.inf
    for want, got in zip(graph.expected(x)[:4], graph.run(x)[:4], strict=True):
        torch.testing.assert_close(torch.from_numpy(got), torch.from_numpy(want), rtol=2e-5, atol=1e-6)
