"""Ranges with a fractional end or step have PyTorch's length at every size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from attn_export.capture.operators import write_out
from attn_runtime.compare import Tolerance
from attn_runtime.errors import CaptureError
from support.checks.every_size import Graph, floats
from torch import nn


def ranges(x: torch.Tensor) -> Any:
    size = x.shape[-1]
    return (
        torch.arange(0, size * 0.1, 0.1),
        torch.arange(0.5, size, 1.5),
        torch.arange(0, 1, 1 / size),
        torch.arange(size, 0, -0.3),
        torch.arange(0.5, size, 1.7, dtype=torch.int32),
        torch.arange(0, size * 0.1, 0.1, dtype=torch.float64),
        torch.arange(0, 1, 0.1),
        x * torch.arange(0, size * 0.1, 0.1).shape[0],
    )


def test_lengths_and_values() -> None:
    without = {n for _, n in Graph(ranges, 6, 120, skip=["written-out"]).wrong(None, Tolerance())}
    assert without >= {0, 2, 5, 7}
    graph = Graph(ranges, 6, 120)
    assert graph.told["written-out"].startswith("wrote out 8 aranges ")
    assert graph.wrong(None, Tolerance()) == []


def test_whole_numbers_stay_a_range() -> None:
    graph = Graph(lambda x: torch.arange(2, x.shape[-1] * 3, 2.0), 6, 60)
    assert "written-out" not in graph.told
    assert graph.wrong() == []


def test_a_float_among_whole_numbers_makes_floats() -> None:
    def net(x: torch.Tensor) -> Any:
        size = x.shape[-1]
        return (
            torch.arange(1, 9.0),
            x[0, 0] * torch.arange(size, 80.0).sum(),
            torch.arange(1.0, size),
            torch.arange(9.0),
        )

    graph = Graph(net, 6, 60)
    assert graph.wrong() == []


class TwoSizes(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.arange(0, x.shape[0] * 0.1 + x.shape[-1] * 0.3, 0.1)


def test_an_end_computed_from_two_sizes_is_refused() -> None:
    dims = ({0: torch.export.Dim("a", min=2, max=9), 2: torch.export.Dim("b", min=6, max=60)},)
    program = torch.export.export(TwoSizes(), (floats(4, 3, 20),), dynamic_shapes=dims, strict=False)
    message = (
        r"^arange at test_arange\.py:\d+ can't be exported so that it equals PyTorch's at every size: "
        r"it is computed in floating point from 2 sizes at once\. Compute sizes in integers"
    )
    with pytest.raises(CaptureError, match=message):
        write_out(program)
