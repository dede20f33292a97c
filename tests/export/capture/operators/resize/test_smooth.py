"""Linear and cubic interpolation at every size of a range; where Resize stays."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from attn_runtime.compare import Tolerance
from support.checks.every_size import Graph, floats

#: A twentieth of the default: rounding of sums, and none of coordinates.
CLOSE = Tolerance(atol=1e-6, rtol=1e-6)
SIZES = [*range(6, 60), 84, 90, 105, 170, 189, 190]


def picture(x: torch.Tensor) -> torch.Tensor:
    return x.unsqueeze(-1).expand(-1, -1, -1, 5)


@pytest.mark.full
def test_linear() -> None:
    def resized(x: torch.Tensor) -> Any:
        return (
            F.interpolate(x, scale_factor=0.7, mode="linear"),
            F.interpolate(x, scale_factor=1.01, mode="linear"),
            F.interpolate(x, scale_factor=0.7, mode="linear", recompute_scale_factor=True),
            F.interpolate(x, size=777, mode="linear"),
            F.interpolate(x, size=50, mode="linear", align_corners=True),
        )

    assert {n for _, n in Graph(resized, 6, 190, skip=["written-out"]).wrong([90], CLOSE)} >= {0, 2}
    assert Graph(resized, 6, 190).wrong(SIZES, CLOSE) == []


@pytest.mark.parametrize("mode", [pytest.param("bilinear", marks=pytest.mark.full), "bicubic"])
def test_pictures(mode: str) -> None:
    def resized(x: torch.Tensor) -> Any:
        return (
            F.interpolate(picture(x), scale_factor=(1.3, 2.0), mode=mode),
            F.interpolate(picture(x), size=(50, 9), mode=mode),
            F.interpolate(picture(x), scale_factor=0.7, mode=mode, align_corners=True),
            F.interpolate(picture(x), size=(1, 9), mode=mode, align_corners=True),
        )

    loose = Tolerance(atol=2e-6, rtol=2e-6)  # cubic sums sixteen products
    assert Graph(resized, 6, 190, skip=["written-out"]).wrong([90, 190], loose)
    assert Graph(resized, 6, 190).wrong(SIZES, loose) == []


@pytest.mark.full  # pictures with one axis more
def test_volumes() -> None:
    """Three different factors: ONNX Runtime's Resize is wrong nearly everywhere."""

    def resized(x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, scale_factor=(1.3, 0.7, 2.0), mode="trilinear")

    def volume(size: int) -> torch.Tensor:
        return floats(1, 1, 3, size, 4)

    assert len(Graph(resized, 6, 60, volume, axis=3, skip=["written-out"]).wrong(None, Tolerance())) > 30
    assert Graph(resized, 6, 60, volume, axis=3).wrong(None, CLOSE) == []


def test_resize_stays_where_nothing_is_rounded() -> None:
    def resized(x: torch.Tensor) -> Any:
        return (
            F.interpolate(picture(x), scale_factor=2.0, mode="bilinear"),
            F.interpolate(picture(x), scale_factor=0.5, mode="bicubic"),
            F.interpolate(picture(x), size=(x.shape[-1] * 4, 5), mode="bilinear"),
        )

    graph = Graph(resized, 8, 190)
    assert "written-out" not in graph.told
    assert {"Resize"} <= graph.operators()
    assert graph.wrong(SIZES[2:], CLOSE) == []


def test_rows_become_pictures_for_resize() -> None:
    graph = Graph(lambda x: F.interpolate(x, scale_factor=2.0, mode="linear"), 6, 500)
    assert graph.operators() <= {"Resize", "Unsqueeze", "Squeeze", "Reshape"}
    assert graph.wrong([6, 7, 100, 333, 500], CLOSE) == []


def test_long_rows() -> None:
    """Coordinates in float32 are 1e-3 apart at 16384; PyTorch's own rounding is met there too."""
    graph = Graph(lambda x: F.interpolate(x, size=777, mode="linear"), 12, 16384, of_size=lambda n: floats(1, 1, n))
    assert graph.wrong([12, 19, 20, 1000, 4097, 8191, 16383, 16384], CLOSE) == []
