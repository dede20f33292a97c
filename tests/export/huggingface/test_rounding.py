"""The tolerance of a model whose own fp32 answers are far from its fp64 ones is a stated multiple of that distance."""

from __future__ import annotations

import re

import torch
from attn_export.huggingface.rounding import MULTIPLE, measured_tolerance
from attn_runtime.compare import Tolerance
from torch import Tensor, nn

INPUT = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))


class Cancels(nn.Module):
    """Adds a large number and takes it away again: float32 keeps what is left of so many digits."""

    def __init__(self, large: float) -> None:
        super().__init__()
        self.large = nn.Parameter(torch.tensor(large))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.large - self.large


def test_a_usual_model_is_held_to_the_default() -> None:
    assert measured_tolerance(Cancels(1.0), lambda m: m, [INPUT]) == (Tolerance(), None)


def test_one_that_amplifies_rounding_is_held_to_a_multiple_of_it_and_that_is_told() -> None:
    module = Cancels(1e3)
    found, note = measured_tolerance(module, lambda m: m, [INPUT])
    exact = INPUT.double()
    distance = float((module(INPUT).detach().double() - exact).abs().max() / exact.abs().max())
    assert MULTIPLE * distance > 2e-5
    assert abs(found.rtol / (MULTIPLE * distance) - 1) < 0.05 and found.atol == Tolerance().atol
    assert note is not None and re.match(rf"rtol {found.rtol:g} instead of 2e-05: .*; --rtol says otherwise", note)
    assert module.large.dtype == torch.float32, "the model itself is not changed"


def test_what_is_no_rounding_makes_no_limit() -> None:
    assert measured_tolerance(Cancels(1e7), lambda m: m, [INPUT]) == (Tolerance(), None)
