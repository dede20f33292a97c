"""Whether PyTorch's answers at a case are settled, of modules that lose digits at it and of such that don't."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from attn_export.reference import Arrays, Ask, settled, to_torch
from attn_export.reference.settled_answers import RoundingNoise
from attn_runtime.bundle import Case
from attn_runtime.compare import Tolerance
from torch import nn


class BiasAndNorm(nn.Module):
    """A norm takes away the bias that a convolution has added, and most digits of a small picture with it."""

    def __init__(self, norm: nn.Module, bias: float) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv1d(8, 16, 3, padding=1), norm
        nn.init.constant_(self.convolution.bias, bias)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.convolution(x))


class Selects(nn.Module):
    """Whole numbers in floats, and comparisons of them: no rounding may part what is equal."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        labels = torch.arange(x.shape[-1]).float().floor_divide(3)
        same = labels[:, None].sum(-1) == labels[None].mean(0)
        return torch.where(same, x, -100.0) + torch.ones(4, 4).matmul(torch.ones(4, 1)).sum()


def asks(module: nn.Module) -> Ask:
    def ask(case: Case[Arrays], inputs: Arrays) -> Case[Arrays]:
        with torch.inference_mode():
            outputs = {"y": module(*to_torch(inputs).values()).numpy()}
        return replace(case, inputs=inputs, outputs=outputs)

    return ask


def tiny() -> Case[Arrays]:
    x = np.random.default_rng(0).standard_normal((2, 8, 24)).astype(np.float32) * np.float32(1e-3)
    return Case("tiny", {}, {"x": x}, {})


@pytest.mark.parametrize("norm", [nn.InstanceNorm1d(16, eps=1e-8), nn.GroupNorm(16, 16, eps=1e-8)])
def test_digits_that_a_norm_takes_away(norm: nn.Module) -> None:
    torch.manual_seed(0)
    problem = settled(tiny(), asks(BiasAndNorm(norm, bias=5.0)), Tolerance())
    assert isinstance(problem, str) and "when rounding alone moves" in problem


@pytest.mark.parametrize(
    "module",
    [
        BiasAndNorm(nn.GroupNorm(1, 16), bias=0.01),
        nn.TransformerEncoderLayer(24, 4, 48, 0.0, batch_first=True),
        nn.Sequential(nn.Linear(24, 24), nn.GELU(), nn.LayerNorm(24)),
    ],
)
def test_what_keeps_its_digits_is_settled(module: nn.Module) -> None:
    answer = settled(tiny(), asks(module.eval()), Tolerance())
    assert not isinstance(answer, str)


def test_whole_numbers_are_left_as_they_are() -> None:
    x = to_torch(tiny().inputs)["x"]
    with torch.inference_mode(), RoundingNoise():
        moved = Selects()(x)
    assert torch.equal(moved, Selects()(x))


def test_noise_is_a_rounding_of_what_is_read() -> None:
    x = torch.full((1000,), 1.5)
    with torch.inference_mode(), RoundingNoise():
        moved = torch.softmax(x, 0), x.exp(), x + 0
    assert len(moved[1].unique()) == 2 and np.allclose(moved[1], np.exp(1.5), rtol=4e-7)
    assert torch.equal(moved[2], x), "a sum of two is rounded alike everywhere"


def test_branches_of_torch_cond_run_under_it() -> None:
    def branch(x: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.sum() > 0, lambda v: v.sin(), lambda v: v.cos(), (x,))

    x = torch.ones(3)
    with torch.no_grad(), RoundingNoise():
        assert torch.allclose(branch(x), x.sin())
