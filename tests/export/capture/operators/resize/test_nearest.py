"""Nearest neighbours are PyTorch's own, bit by bit, at every size of a range."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.checks.every_size import Graph, floats
from torch import nn


def nearest(x: torch.Tensor, exact: bool = False, **how: Any) -> torch.Tensor:
    return F.interpolate(x, mode="nearest-exact" if exact else "nearest", **how)


def test_sizes_that_stay_while_the_input_varies() -> None:
    def resized(x: torch.Tensor) -> Any:
        return nearest(x, size=50), nearest(x, size=x.shape[-1] // 2 + 1), nearest(x, exact=True, size=50)

    assert Graph(resized, 6, 130, skip=["written-out"]).wrong(), "the exporter's own translation is at fault"
    graph = Graph(resized, 6, 130)
    assert graph.told["written-out"].startswith("wrote out 1 _upsample_nearest_exact1d, 2 upsample_nearest1ds ")
    assert graph.wrong() == []


@pytest.mark.full
def test_scale_factors() -> None:
    def resized(x: torch.Tensor) -> Any:
        return (
            nearest(x, scale_factor=0.7),
            nn.Upsample(scale_factor=1.3)(x),
            nearest(x, scale_factor=0.7, recompute_scale_factor=True),
            nearest(x, exact=True, scale_factor=0.7),
        )

    without = {n for _, n in Graph(resized, 4, 190, skip=["written-out"]).wrong([7, 90, 112, 168])}
    assert without == {0, 1, 2, 3}
    assert Graph(resized, 4, 190).wrong() == []


def test_pictures_and_volumes() -> None:
    """Pictures are copied where a scale factor keeps their size (1.3 times 2 or 3), rows and volumes are not."""

    def resized(x: torch.Tensor) -> Any:
        picture, volume = x.unsqueeze(-1).expand(-1, -1, -1, 5), x[:, :, None, :, None].expand(-1, -1, 3, -1, 4)
        return (
            nearest(picture, scale_factor=(1.3, 0.7)),
            nearest(picture, scale_factor=(2.1, 1.0)),
            nearest(picture, size=(50, 13)),
            nearest(volume, scale_factor=(0.7, 1.3, 2.0)),
            nearest(volume, size=(2, 50, 7)),
        )

    assert Graph(resized, 2, 130).wrong([*range(2, 50), 84, 90, 105, 106, 118, 130]) == []


def test_resize_stays_where_nothing_is_rounded() -> None:
    def resized(x: torch.Tensor) -> Any:
        whole = [nearest(x, scale_factor=s) for s in (0.25, 0.5, 2.0, 3.0)]
        return *whole, nearest(x, size=x.shape[-1] * 2)

    graph = Graph(resized, 8, 130)
    assert "written-out" not in graph.told
    assert "Resize" in graph.operators()
    assert graph.wrong() == []


def test_a_whole_factor_that_float32_gets_wrong_is_written_out() -> None:
    # 1 / 41 in float32 is too small: PyTorch takes neighbour 0, not 1, for output 41.
    graph = Graph(lambda x: nearest(x, scale_factor=41.0), 6, 60)
    assert "written-out" in graph.told
    assert graph.wrong() == []


def test_two_sizes_that_vary_apart() -> None:
    class ToOther(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nearest(x, size=x.shape[0] + 7)

    graph = Graph(ToOther(), 3, 80, of_size=lambda size: floats(size, 1, 55), axis=0)
    assert graph.wrong() == []


def test_long_rows() -> None:
    graph = Graph(lambda x: nearest(x, size=3 * x.shape[-1] // 7 + 1), 6, 16384, of_size=lambda n: floats(1, 1, n))
    assert graph.wrong([6, 1000, 2049, 4097, 8191, 12345, 16383, 16384]) == []
