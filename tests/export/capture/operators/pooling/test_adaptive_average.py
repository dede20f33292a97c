"""Adaptive averages, and interpolation by area, at every size of a range."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from attn_runtime.compare import Tolerance
from support.checks.every_size import Graph


def test_averages() -> None:
    def pooled(x: torch.Tensor) -> Any:
        picture = x.unsqueeze(-1).expand(-1, -1, -1, 5)
        volume = x[:, :, None, :, None].expand(-1, -1, 3, -1, 4)
        return (
            F.adaptive_avg_pool1d(x, 7),
            F.interpolate(x, size=50, mode="area"),
            F.adaptive_avg_pool2d(picture, (7, 3)),
            F.adaptive_avg_pool2d(picture, (1, 5)),
            F.interpolate(picture, scale_factor=0.7, mode="area"),
            F.adaptive_avg_pool3d(volume, (2, 7, 4)),
        )

    graph = Graph(pooled, 6, 120)
    assert graph.told["written-out"].startswith(
        "wrote out 2 adaptive_avg_pool1ds, 3 adaptive_avg_pool2ds, 1 adaptive_avg"
    )
    assert graph.wrong(None, Tolerance()) == []


def test_the_exporter_unrolls_windows_of_one_size() -> None:
    # Captured at 34. At shorter lengths the graph reads beyond the input, and ONNX Runtime stops.
    graph = Graph(lambda x: F.adaptive_avg_pool1d(x, 7), 8, 60, skip=["written-out"])
    assert {size for size, _ in graph.wrong([34, 40, 50, 60], Tolerance())} == {40, 50, 60}


def test_the_mean_of_all_stays() -> None:
    graph = Graph(lambda x: F.adaptive_avg_pool2d(x.unsqueeze(-1).expand(-1, -1, -1, 5), 1), 6, 60)
    assert "written-out" not in graph.told
    assert graph.wrong(None, Tolerance()) == []
