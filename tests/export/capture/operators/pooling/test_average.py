"""Averages over all there is are means; other windows stay pools, by the divisor that they have."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from attn_runtime.compare import Tolerance
from attn_runtime.errors import CaptureError
from support.checks.every_size import Graph, floats


def several(x: torch.Tensor) -> Any:
    return (
        F.avg_pool2d(x, 2560, ceil_mode=True),
        F.avg_pool2d(x, (5, 7)),
        F.avg_pool1d(x[:, 0], 100, ceil_mode=True),
        F.avg_pool3d(x, (3, 5, 7)),
        F.avg_pool2d(x, (5, 7), divisor_override=3),
        F.avg_pool2d(x, 3, ceil_mode=True),  # from here on no window is the whole
        F.avg_pool2d(x, 5, 1),
        F.avg_pool2d(x, 8, 8, 2, ceil_mode=True),
        F.avg_pool2d(x, 3, divisor_override=7),
        F.avg_pool2d(x, (3, 2), 1, 1, count_include_pad=False, divisor_override=2),
        F.avg_pool3d(x, 2, 1, 1, divisor_override=5),
    )


def test_every_size() -> None:
    graph = Graph(several, 1, 6, lambda size: floats(size, 3, 5, 7), axis=0)
    assert graph.wrong(tolerance=Tolerance()) == []
    found = [node.op_type for node in graph.model.graph]
    assert found.count("ReduceMean") == 3 and found.count("ReduceSum") == 1 and found.count("AveragePool") == 6


def test_a_size_that_outgrows_the_window_stays_a_pool() -> None:
    graph = Graph(lambda x: F.avg_pool1d(x, 9, 2), 12, 30, lambda size: floats(2, 3, size), axis=2)
    assert graph.wrong(tolerance=Tolerance()) == []
    assert [node.op_type for node in graph.model.graph].count("AveragePool") == 1


def test_a_divisor_of_windows_that_are_cut_off_is_refused() -> None:
    with pytest.raises(CaptureError, match="divisor of its own and windows that are cut off"):
        Graph(
            lambda x: F.avg_pool2d(x, 3, ceil_mode=True, divisor_override=7), 1, 6, lambda n: floats(n, 3, 5, 7), axis=0
        )
