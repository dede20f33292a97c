"""Windows summed to a picture, of every kind of step, overlap, hole and border."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from attn_runtime.compare import Tolerance
from support.checks.every_size import Graph, floats
from torch import nn

KINDS: list[dict[str, Any]] = [
    {"kernel_size": 3, "padding": 1, "stride": 2},
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 2, "stride": 2},
    {"kernel_size": (3, 2), "padding": (1, 0), "stride": (2, 1), "dilation": (1, 2)},
    {"kernel_size": 2, "stride": 3, "dilation": 2, "padding": 1},
]


class Outlook(nn.Module):
    """VOLO's: windows of a picture, and back to one of its size."""

    def __init__(self, **kind: Any) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.fold(F.unfold(x, **self.kind) * 2, x.shape[2:], **self.kind)


def test_windows_of_a_fixed_picture() -> None:
    every = [Outlook(**kind) for kind in KINDS]
    graph = Graph(lambda x: tuple(net(x) for net in every), 1, 8, lambda size: floats(size, 6, 14, 13), axis=0)
    assert graph.wrong([1, 8], Tolerance()) == []
    assert "ConvTranspose" in graph.operators() and "Col2Im" not in graph.operators()


def test_a_picture_whose_height_varies() -> None:
    class Net(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.fold(x.flatten(2), x.shape[2:], 3, padding=1)

    graph = Graph(Net(), 4, 40, lambda size: floats(2, 18, size, 7), axis=2)
    assert graph.wrong([4, 5, 23, 40], Tolerance()) == []
    assert "Col2Im" not in graph.operators()


def test_one_picture_without_an_axis_for_it() -> None:
    graph = Graph(lambda x: F.fold(x[0], (8, 8), 2, stride=2), 1, 4, lambda size: floats(size, 12, 16), axis=0)
    assert graph.wrong([1, 4], Tolerance()) == []


def test_a_kernel_that_would_be_too_large_stays() -> None:
    graph = Graph(lambda x: F.fold(x, (48, 48), 16, stride=16), 1, 4, lambda size: floats(size, 1024, 9), axis=0)
    assert "Col2Im" in graph.operators()
