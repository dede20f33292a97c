"""Calls that are written otherwise answer what PyTorch's own do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from attn_export.capture.equivalents import SizedCalls, torch_calls
from support.checks.every_size import floats


@pytest.fixture(autouse=True)
def sizes_vary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every size counts as one of a dynamic dim."""
    monkeypatch.setattr(torch_calls, "_varies", lambda *sizes: True)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 10, 33])
@pytest.mark.parametrize(
    "call",
    [
        lambda x: torch.linspace(0, 1, steps=x.shape[-1]),
        lambda x: torch.linspace(-3.5, 2, x.shape[-1], dtype=torch.float64),
        lambda x: torch.linspace(x[0, 0, 0], 4.0, x.shape[-1]),
        lambda x: F.max_pool1d(F.pad(x, (3, 3)), 3),
        lambda x: F.max_pool1d(F.pad(x, (3, 3)), (3,), stride=2, padding=1, dilation=2, ceil_mode=True),
        lambda x: torch.nn.MaxPool1d(2, 3, ceil_mode=True)(F.pad(x, (1, 1))),
        lambda x: x.chunk(2, -1),
        lambda x: torch.chunk(x, 3, dim=2),
        lambda x: x.split(3, -1),
        lambda x: torch.split(x, 4, dim=-1),
    ],
)
def test_the_same(call: Callable[[torch.Tensor], Any], size: int) -> None:
    x = floats(2, 3, size)
    with SizedCalls() as calls:
        got = call(x)
    assert calls.told() in {"linspace", "max_pool1d", "chunk", "split"}
    torch.testing.assert_close(got, call(x))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: torch.linspace(0, 9, 4, dtype=torch.int64),
        lambda x: F.max_pool1d(x, 2, return_indices=True),
        lambda x: x.split([1, 4], -1),
    ],
)
def test_left_alone(call: Callable[[torch.Tensor], Any]) -> None:
    with SizedCalls() as calls:
        call(floats(2, 3, 5))
    assert calls.told() == ""
