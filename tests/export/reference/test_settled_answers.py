"""Whether PyTorch's answers at a case are settled, of modules that lose digits at it and of such that don't."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from attn_export.reference import Arrays, Ask, settled, to_torch
from attn_export.reference.draw import Drawn
from attn_export.reference.settled_answers import RoundingNoise, chooses, settled_draw
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


@pytest.mark.parametrize(("grown", "asked"), [(1.0, 2), (5.0, 6), (30.0, 3)])
def test_what_moves_clearly_is_asked_no_more_and_what_is_close_is(grown: float, asked: int) -> None:
    """A change of the inputs comes out `grown` times as large, of at most what a half of the tolerance is."""
    given = tiny()
    calls: list[Arrays] = []

    def ask(case: Case[Arrays], inputs: Arrays) -> Case[Arrays]:
        calls.append(inputs)
        moved = inputs["x"].astype(np.float64) - given.inputs["x"]
        return replace(case, inputs=inputs, outputs={"y": (given.inputs["x"] + grown * moved).astype(np.float32)})

    assert isinstance(settled(given, ask, Tolerance(0.0, 2e-5)), str) == (grown == 30.0)
    assert len(calls) == asked


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


def test_what_is_written_in_place_is_seen_by_who_holds_the_tensor() -> None:
    """timm's activations write in place, and its blocks go on with what they gave them."""
    x = torch.linspace(-1, 1, 1000)
    with torch.inference_mode(), RoundingNoise():
        mine = x.clone()
        answered = torch.nn.functional.silu(mine, inplace=True)
    assert answered is mine
    assert torch.allclose(mine, torch.nn.functional.silu(x)) and not torch.equal(mine, torch.nn.functional.silu(x))


def test_branches_of_torch_cond_run_under_it() -> None:
    def branch(x: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.sum() > 0, lambda v: v.sin(), lambda v: v.cos(), (x,))

    x = torch.ones(3)
    with torch.no_grad(), RoundingNoise():
        assert torch.allclose(branch(x), x.sin())


class Best(nn.Module):
    """Of each row's scores the greatest half, and where they are: two that rounding makes equal change places."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        score = x
        for _ in range(8):  # as many roundings as layers have
            score = (score.exp() * 1.1).log()
        best = score.topk(x.shape[-1] // 2, -1).indices
        return x.gather(-1, best) + 10.0 * best


def close_in(rows: list[int], count: int) -> Arrays:
    """float32 [count, 32]: scores far apart, but in `rows`, where every second one is a rounding below the next."""
    x = np.linspace(0, 3, 32, dtype=np.float32) + np.arange(count, dtype=np.float32)[:, None] / 8
    x[rows, ::2] = np.nextafter(x[rows, 1::2], np.float32(0))
    return {"x": x}


def test_a_module_that_chooses_is_known() -> None:
    case = Case("c", {}, close_in([], 2), {})
    assert chooses(asks(Best()), case, case.inputs)
    assert not chooses(asks(nn.Softmax(-1)), case, case.inputs)


def test_choosing_among_whole_numbers_is_none() -> None:
    case = Case("c", {}, {"x": np.arange(6)[None]}, {})
    assert not chooses(asks(Argmax()), case, case.inputs)


class Argmax(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.argmax(-1)


@pytest.mark.parametrize("unsettled", [[], [1], [0, 3], [0, 1, 2]])
def test_rows_that_rounding_moves_are_those_of_others(unsettled: list[int]) -> None:
    inputs = close_in(unsettled, 4)
    draw = settled_draw(lambda sizes, seed: Drawn(inputs, dict(sizes)), asks(Best()), Tolerance())
    drawn = draw({"batch": 4}, 0).inputs["x"]
    kept = [row for row in range(4) if row not in unsettled]
    assert np.array_equal(drawn[kept], inputs["x"][kept])
    assert all(any(np.array_equal(drawn[row], inputs["x"][k]) for k in kept) for row in unsettled)


def test_where_no_row_is_settled_others_are_drawn() -> None:
    def draw(sizes: object, seed: int) -> Drawn:
        return Drawn(close_in([0] if seed == 5 else [], 1), {"batch": 1})

    drawn = settled_draw(draw, asks(Best()), Tolerance())({"batch": 1}, 5)
    assert np.array_equal(drawn.inputs["x"], close_in([], 1)["x"])


def test_what_no_draw_settles_stays() -> None:
    inputs = close_in([0, 1], 2)
    drawn = settled_draw(lambda sizes, seed: Drawn(inputs, {}), asks(Best()), Tolerance())({}, 0)
    assert drawn.inputs is inputs
