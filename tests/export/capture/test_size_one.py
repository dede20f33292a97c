"""Why a graph is not PyTorch's where a size is 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from attn_export.capture import explained_at_one
from attn_export.reference import Signature
from attn_runtime.errors import CaptureError, ParityError
from attn_runtime.spec import Dim, TensorSpec
from torch import nn


class Mean(nn.Module):
    def forward(self, x: torch.Tensor) -> Any:
        if x.shape[1] > 1:
            x = x - x.mean(1, keepdim=True)
        return x * 2


class Plain(nn.Module):
    def forward(self, x: torch.Tensor) -> Any:
        return x * 2


def asked(module: nn.Module, *sizes: dict[str, int], least: int = 1) -> Exception:
    spec = TensorSpec("x", "float32", (Dim("B", 1, 2, 4), Dim("T", least, 8, 24)))
    problem = ParityError("capture does not match PyTorch", "", sizes)
    return explained_at_one(problem, Signature(module, [spec]), {"x": np.ones((2, 8), np.float32)})


def test_the_line_that_asks_is_named() -> None:
    found = asked(Mean(), {"B": 1, "T": 1}, {"B": 4, "T": 1})
    assert isinstance(found, CaptureError)
    assert "dim T was asked to be 1..24" in str(found)
    assert 'test_size_one.py:19: "if x.shape[1] > 1:" (capture does not match PyTorch)' in str(found)
    assert "ask for --dim T=2:8:24, or compute the same" in str(found)


@pytest.mark.parametrize(
    ("module", "sizes"),
    [(Plain(), [{"B": 1, "T": 1}]), (Mean(), [{"B": 1, "T": 1}, {"B": 2, "T": 8}]), (Mean(), [])],
)
def test_what_has_another_reason_stays(module: nn.Module, sizes: list[dict[str, int]]) -> None:
    assert isinstance(asked(module, *sizes), ParityError)


def test_a_dim_that_is_never_1_is_not_blamed() -> None:
    assert isinstance(asked(Mean(), {"B": 3, "T": 2}, least=2), ParityError)
