"""Antialiased resizing: two fixed sizes are a product with PyTorch's own weights, by scale factors too."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from attn_runtime.compare import Tolerance
from support.checks.every_size import Graph, floats

HOW: list[dict[str, Any]] = [
    {"size": (5, 6)},
    {"size": (20, 6)},
    {"size": (5, 17), "align_corners": True},
    {"scale_factor": 0.7},
    {"scale_factor": (2.3, 0.5)},
    {"scale_factor": 0.7, "recompute_scale_factor": True},
    {"size": (9, 4)},
]


def test_fixed_sizes() -> None:
    def resize(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(
            F.interpolate(x, mode=mode, antialias=True, **how) for mode in ("bilinear", "bicubic") for how in HOW
        )

    graph = Graph(resize, 1, 4, lambda size: floats(size, 3, 9, 8), axis=0)
    assert graph.wrong([1, 3], Tolerance()) == []
    assert "MatMul" in graph.operators() and "Resize" not in graph.operators()


def test_sizes_that_vary_stay_with_resize() -> None:
    graph = Graph(
        lambda x: F.interpolate(x, size=(5, 6), mode="bilinear", antialias=True),
        4,
        40,
        lambda size: floats(1, 3, size, 8),
        axis=2,
    )
    assert graph.wrong([4, 40], Tolerance()) == []
    assert "Resize" in graph.operators()
