"""Constants that a model writes over its answers are found in all their kinds, and honest answers hold none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from attn_export.reference.fills import fill_ranges
from attn_runtime.bundle import Arrays, Case
from attn_runtime.compare import is_fill_range

Array = np.ndarray[Any, Any]
Make = Callable[[Array, np.random.Generator], Array]
LEAST = float(np.finfo(np.float32).min)
SIZES = ((1, 1), (2, 8), (4, 16), (1, 16))


def answers(
    make: Make, seed: int = 0, sizes: Sequence[tuple[int, int]] = SIZES, scale: float = 1.0
) -> list[Case[Arrays]]:
    """An answer `make(x, random)` for each size (batch, length) of x: float32 [batch, length, 16]."""
    found = []
    for number, size in enumerate(sizes):
        random = np.random.default_rng([seed, number])
        x = (scale * random.standard_normal((*size, 16))).astype(np.float32)
        found.append(Case(f"{number}", {}, {"x": x}, {"y": make(x, random).astype(x.dtype)}))
    return found


def banned(value: float, classes: int = 2) -> Make:
    def make(x: Array, random: np.random.Generator) -> Array:
        x = x.copy()
        x[..., :classes] = value
        return x

    return make


def written(value: float, share: float) -> Make:
    return lambda x, random: np.where(random.random(x.shape) < share, np.float32(value), x)


def added(value: float, share: float) -> Make:
    return lambda x, random: x + np.float32(value) * (random.random(x.shape) < share)


def log_softmax(x: Array) -> Array:
    x = x - x.max(-1, keepdims=True)
    return np.asarray(x - np.log(np.exp(x).sum(-1, keepdims=True)))


FILLED: dict[str, Make] = {
    "-1e9": banned(-1e9),
    "one class": banned(-1e9, 1),
    "-1e4": banned(-1e4),
    "-100": banned(-100),
    "-999": banned(-999),
    "+1e30": banned(1e30),
    "the least float16": banned(-65504),
    "the least float32": banned(LEAST),
    "in most places": written(-1e9, 0.97),
    "in few places": written(LEAST, 0.01),
    "-1e4 added": added(-1e4, 0.5),
    "-1e4 added to most": added(-1e4, 0.95),
    "-1e4 added to few": added(-1e4, 0.02),
    "-1e9 added": added(-1e9, 0.5),
    "the least float32 added": added(LEAST, 0.5),
    "1e6 added to distances": lambda x, random: added(1e6, 0.5)(np.abs(x), random),
    "added twice": lambda x, random: added(-1e4, 0.5)(added(-1e4, 0.5)(x, random), random),
    "added, then divided": lambda x, random: added(-1e4, 0.5)(x, random) / 8,
    "added, then log_softmax": lambda x, random: log_softmax(banned(-1e4)(x, random)),
    "beside large logits": lambda x, random: banned(-1e4)(12 * x, random),
    "three of either sign": lambda x, random: np.where(
        x > 1, 1e30, np.where(x < -1.5, -1e9, np.where(x < -1, -1e4, x))
    ),
}


@pytest.mark.parametrize("kind", FILLED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fills_are_found(kind: str, dtype: str) -> None:
    for seed in range(20):
        cases = answers(FILLED[kind], seed)
        for case in cases:
            case.outputs["y"] = case.outputs["y"].astype(dtype)
        (ranges,) = fill_ranges(cases).values()
        assert all(is_fill_range(low, high) for low, high in ranges)
        for case in cases:
            y = case.outputs["y"].astype(np.float64)
            places = np.zeros(y.shape, bool)
            for low, high in ranges:
                places |= (y >= low) & (y <= high)
            assert np.abs(y[~places]).max(initial=0) < 60 and np.abs(y[places]).min(initial=100) > 99, (seed, ranges)


def test_there_is_room_for_what_other_inputs_add() -> None:
    ranges = fill_ranges(answers(FILLED["-1e4 added"]))["y"]
    for case in answers(FILLED["-1e4 added"], seed=1):
        y = case.outputs["y"]
        assert len(ranges) == 1 and ((y > -100) | ((y >= ranges[0][0]) & (y <= ranges[0][1]))).all()


@pytest.mark.parametrize("kind", ["-1e9", "-1e4", "-100", "-1e4 added", "the least float32"])
def test_inputs_of_other_magnitudes_do_not_hide_them(kind: str) -> None:
    large, tiny = (answers(FILLED[kind], 1, SIZES[1:2], scale) for scale in (100.0, 1e-3))
    assert len(fill_ranges([*answers(FILLED[kind]), *large, *tiny])["y"]) == 1


def heavy(x: Array, random: np.random.Generator) -> Array:
    return random.standard_cauchy(x.shape)


def outlier(size: Callable[[np.random.Generator], float]) -> Make:
    """One large value in an answer of small ones, which depends on the input."""

    def make(x: Array, random: np.random.Generator) -> Array:
        x = 0.3 * x
        x[(0,) * x.ndim] = size(random)
        return x

    return make


def beside(large: Callable[[Array, np.random.Generator], Array]) -> Make:
    """A column of numbers of another unit beside scores."""
    return lambda x, random: np.concatenate([0.3 * x[..., 1:], large(x[..., :1], random)], -1)


HONEST: dict[str, Make] = {
    "normal": lambda x, random: x,
    "large": lambda x, random: 1e4 * x,
    "Cauchy": heavy,
    "Student's t of 0.3": lambda x, random: random.standard_t(0.3, x.shape),
    "log-normal": lambda x, random: np.exp(5 * x),
    "log-normal, few values": lambda x, random: np.exp(8 * x[..., :3]),
    "one outlier": outlier(lambda random: 500 * (1 + 0.3 * random.standard_normal())),
    "one large outlier": outlier(lambda random: 5000 * (1 + random.random())),
    "areas beside scores": beside(lambda x, random: 5000 + 1500 * x),
    "areas of all sizes": beside(lambda x, random: np.exp(random.uniform(4, 11, x.shape))),
    "massive activations": beside(lambda x, random: 2500 + 100 * x),
    "massive activations beside large ones": lambda x, random: np.concatenate([5 * x, 2500 + 30 * x[..., :1]], -1),
    "massive activations, nearly constant": lambda x, random: np.concatenate([x, 2500 + x[..., :1]], -1),
    "the same below 0": lambda x, random: np.concatenate([5 * x, -2500 + 40 * x[..., :1]], -1),
    "a shift that is not far": lambda x, random: added(-1000, 0.5)(20 * np.sign(x) + 4 * x, random),
    "beside a large value that is none": lambda x, random: np.concatenate(
        [banned(-300)(0.3 * x, random), 100 + 20 * np.abs(x[..., :1])], -1
    ),
    "a year beside others": lambda x, random: np.concatenate([x, 2024 + x[..., :1]], -1),
    "percentages": lambda x, random: 100 * np.exp(log_softmax(30 * x)),
    "pixels that saturate": lambda x, random: 255 / (1 + np.exp(np.clip(20 * x, -30, 30))),
    "beside zeros alone": lambda x, random: 1000.0 * (x > 0),
    "a mask to add": lambda x, random: np.where(random.random(x.shape) < 0.5, -1e9, 0),
    "all alike": lambda x, random: np.full(x.shape, -1e9),
    "infinite": lambda x, random: np.where(x > 1, -np.inf, x),
    "NaN": lambda x, random: np.where(x > 1, np.nan, x),
    "ReLU": lambda x, random: 1e4 * np.maximum(x, 0),
    "tiny": lambda x, random: 1e-9 * np.where(x > 1, 1e3, x),
    "empty": lambda x, random: x[:0],
}


@pytest.mark.parametrize("kind", HONEST)
def test_honest_answers_hold_none(kind: str) -> None:
    for seed in range(100):
        assert fill_ranges(answers(HONEST[kind], seed)) == {}, seed


def test_outliers_of_many_answers_hold_none_though_some_are_near() -> None:
    make = outlier(lambda random: -5000 * (1 + random.random()))
    for seed in range(10):
        assert fill_ranges(answers(make, seed, [(1, 1)] * 60)) == {}, seed


def test_integers_hold_none() -> None:
    case = Case("a", {}, {"x": np.zeros(1)}, {"n": np.array([1, -(10**9), -(10**9)]), "b": np.array([True, False])})
    assert fill_ranges([case, case]) == {} and fill_ranges([]) == {}


def test_an_outlier_beside_fills_is_left_in_the_rest() -> None:
    def make(x: Array, random: np.random.Generator) -> Array:
        return banned(-1e9)(outlier(lambda random: 500 + 100 * random.random())(x, random)[..., ::-1], random)

    (ranges,) = fill_ranges(answers(make)).values()
    assert len(ranges) == 1 and ranges[0][1] < -9e8


@pytest.mark.parametrize("make", [banned(-1e9, 1), lambda x, random: x + np.float32([-1e4, *[0] * 15])])
def test_what_is_there_once_is_asked_for_again(make: Make) -> None:
    """A graph of fixed sizes has one case, and a fill of one place is there once."""
    once = answers(make, sizes=[(1, 1)])
    asked: list[int] = []

    def again(number: int) -> Case[Arrays]:
        asked.append(number)
        return answers(make, seed=number + 1, sizes=[(1, 1)])[0]

    once[0].outputs["y"][..., 1:] *= 0.1  # so that the rest alone does not tell
    assert fill_ranges(once) in ({}, fill_ranges(once, again)) and asked == [0, 1]
    assert len(fill_ranges(once, again)["y"]) == 1


def test_the_same_answer_twice_is_no_second_one() -> None:
    once = answers(outlier(lambda random: 5000.0), sizes=[(1, 1)])
    assert fill_ranges([*once, *once]) == {}
    asked: list[int] = []
    other = [outlier(lambda random, n=n: 5000 * (2.0 + n)) for n in range(2)]  # type: ignore[misc]

    def again(number: int) -> Case[Arrays]:
        asked.append(number)
        return answers(other[number], seed=number + 1, sizes=[(1, 1)])[0]

    assert fill_ranges(once, again) == {} and asked == [0, 1]
    assert fill_ranges(answers(HONEST["normal"]), lambda number: pytest.fail("nothing to ask for")) == {}
