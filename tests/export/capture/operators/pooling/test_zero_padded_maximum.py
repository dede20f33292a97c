"""Zeros around what a max pool looks at are numbers, which ONNX Runtime's Pad_Fusion forgets."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from support.checks.every_size import Graph, floats


def negative(size: int) -> torch.Tensor:
    return -1 - floats(2, 3, 9, size).abs()


def several(x: torch.Tensor) -> Any:
    padded = F.pad(x, (1, 1, 1, 1))
    return (
        F.max_pool2d(padded, 3, 1),
        F.max_pool2d(torch.nn.ConstantPad2d((1, 0, 0, 1), 0.0)(x), 2, 1, 1),
        F.max_pool2d(torch.nn.ZeroPad2d(2)(x), 3, 1, ceil_mode=True),
        F.max_pool2d(F.pad(x, (1, 1, 1, 1), value=-torch.inf), 3, 1),
        F.max_pool2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), 3, 1),
        padded,
    )


def test_every_size() -> None:
    graph = Graph(several, 5, 40, negative)
    assert graph.wrong() == []


def test_zeros_and_pool_stay_two() -> None:
    """What is written between them is seen in the graph, and only there."""
    graph = Graph(several, 5, 40, negative)
    assert sum(node.op_type == "Max" for node in graph.model.graph) == 3


def test_three_axes() -> None:
    graph = Graph(
        lambda x: F.max_pool3d(F.pad(x, (1, 1, 1, 1, 1, 1)), 2, 1, 1),
        1,
        4,
        lambda n: -1 - floats(n, 3, 4, 9).abs(),
        axis=0,
    )
    assert graph.wrong() == []
