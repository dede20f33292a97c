"""Group normalization: with one group TensorRT makes another function of it, with a large mean ONNX Runtime loses it."""

from __future__ import annotations

import pytest
import torch
from attn_runtime.compare import Tolerance
from support.checks.every_size import Graph, floats
from torch import nn


class Net(nn.Module):
    def __init__(self, groups: int, affine: bool = True) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, 6, affine=affine)
        if affine:
            with torch.no_grad():
                self.norm.weight.copy_(floats(6))
                self.norm.bias.copy_(floats(6) + 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Channels of different size: there one group and one for each channel part.
        return self.norm(x * torch.arange(1.0, 7.0).view(-1, *[1] * (x.dim() - 2)))


def picture(size: int) -> torch.Tensor:
    return floats(2, 6, size, 5)


@pytest.mark.parametrize(
    ("affine", "of_size"),
    [(True, picture), (False, lambda size: floats(2, 6, size)), (True, lambda size: floats(1, 6, size, 2, 3))],
)
def test_one_group_is_right_and_no_group_normalization(affine: bool, of_size: object) -> None:
    graph = Graph(Net(1, affine), 4, 40, of_size, axis=2)  # type: ignore[arg-type]
    assert graph.wrong([4, 5, 23, 40], Tolerance()) == []
    assert "GroupNormalization" not in graph.operators() and "InstanceNormalization" in graph.operators()


def test_what_an_exported_program_calls_it() -> None:
    weight = floats(6)

    def native(x: torch.Tensor) -> torch.Tensor:
        return torch.ops.aten.native_group_norm(x, weight, None, x.shape[0], 6, x.shape[2], 1, 1e-3)[0]

    graph = Graph(native, 4, 40, lambda size: floats(2, 6, size))
    assert graph.wrong([4, 40], Tolerance()) == []
    assert "InstanceNormalization" in graph.operators()


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_a_mean_far_above_the_deviation_costs_no_digits(groups: int) -> None:
    graph = Graph(nn.GroupNorm(groups, 6), 4, 40, lambda size: floats(2, 6, size, 5) + 50, axis=2)
    assert graph.wrong([4, 23, 40], Tolerance()) == []
    assert "InstanceNormalization" in graph.operators() and "GroupNormalization" not in graph.operators()
