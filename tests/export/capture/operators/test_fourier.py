"""Transforms to frequencies and back, at every length, closer than ONNX Runtime's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from attn_runtime.compare import Tolerance
from support.checks.every_size import Function, Graph

LENGTHS = [1, 2, 7, 16, 33, 63, 64]
CLOSE = Tolerance(rtol=2e-6)


def there(x: torch.Tensor) -> Any:
    answer = torch.fft.fftn(x, dim=(1, 2))
    return answer.real, answer.imag


def back(x: torch.Tensor) -> Any:
    answer = torch.fft.ifft(torch.complex(x, x.flip(1)))
    return answer.real, answer.imag


def even(x: torch.Tensor) -> Any:
    return torch.fft.fft2(x, norm="ortho").real, torch.fft.ifft2(x, norm="forward").imag


@pytest.mark.parametrize(
    "function", [there, pytest.param(back, marks=pytest.mark.full), pytest.param(even, marks=pytest.mark.full)]
)
def test_every_length(function: Function) -> None:
    graph = Graph(function, 1, 64)
    assert graph.wrong(LENGTHS, CLOSE) == []
    assert "DFT" not in graph.operators()


@pytest.mark.full
def test_the_exporters_own_is_further_off() -> None:
    assert Graph(there, 1, 64, skip=["written-out"]).wrong([33, 63], CLOSE)


@pytest.mark.full
def test_a_long_or_a_filled_axis_is_left_to_the_exporter() -> None:
    def both(x: torch.Tensor) -> Any:
        return torch.fft.fft(x, n=8, dim=1).real, torch.fft.fft(x, dim=2).imag

    assert "written-out" not in Graph(both, 2, 1 << 12).told
