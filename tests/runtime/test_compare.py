"""A comparison passes for equal tensors and for nothing else."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from attn_runtime.compare import Tolerance, compare, compare_all

EXACT = Tolerance(0.0, 0.0)
LOOSE = Tolerance(1e-6, 2e-5)
WIDEST = Tolerance(math.inf, 0.0)


def f32(*values: float) -> np.ndarray[Any, Any]:
    return np.array(values, np.float32)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int64", "uint64", "bool"])
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (2, 3)])
def test_a_tensor_equals_itself(dtype: str, shape: tuple[int, ...]) -> None:
    value = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    difference = compare("y", value, value.copy(), EXACT)
    assert difference.passed and difference.max_error == 0 and not difference.problem and not difference.worst


@pytest.mark.parametrize("dtype", ["float16", "float64", "int64", "bool"])
def test_scalars_differ_too(dtype: str) -> None:
    found = compare("y", np.array(0, dtype), np.array(1, dtype), EXACT)
    assert not found.passed and found.max_error == 1 and found.worst == (((), 0.0, 1.0, 0.0),)


def test_limit_is_relative_to_the_largest_reference() -> None:
    expected = f32(1000.0, 0.0)
    assert compare("y", expected, f32(1000.0, 0.019), LOOSE).passed
    found = compare("y", expected, f32(1000.0, 0.021), LOOSE)
    assert not found.passed
    assert found.limit == pytest.approx(1e-6 + 2e-5 * 1000)
    assert found.max_error == pytest.approx(0.021, rel=1e-6) and found.max_reference == 1000
    assert found.relative_error == pytest.approx(2.1e-5, rel=1e-5)
    assert found.worst[0] == ((1,), 0.0, pytest.approx(0.021), found.limit)


def test_limit_is_inclusive() -> None:
    assert compare("y", np.zeros(1), np.full(1, 0.5), Tolerance(0.5, 0)).passed
    assert not compare("y", np.zeros(1), np.full(1, np.nextafter(0.5, 1)), Tolerance(0.5, 0)).passed


@pytest.mark.parametrize(
    ("got", "problem"),
    [
        (None, "missing"),
        (f32(1, 2, 3), "shape [3], expected [2]"),
        (f32(1, 2).reshape(1, 2), "shape [1, 2], expected [2]"),
        (np.array([1.0, 2.0]), "dtype float64, expected float32"),
        (f32(1, math.nan), "NaN in 1 of 2 places where only one side has it"),
    ],
)
def test_no_tolerance_is_wide_enough(got: np.ndarray[Any, Any] | None, problem: str) -> None:
    found = compare("y", f32(1, 2), got, WIDEST)
    assert not found.passed and found.problem == problem and found.max_error == math.inf


def test_missing_nan_is_no_less_wrong() -> None:
    assert not compare("y", f32(1, math.nan), f32(1, 2), WIDEST).passed
    assert compare("y", f32(1, math.nan), f32(1, math.nan), EXACT).passed
    assert not compare("y", f32(5, math.nan), f32(1, math.nan), LOOSE).passed


def test_infinities() -> None:
    assert compare("y", f32(-math.inf, 1), f32(-math.inf, 1), EXACT).passed
    assert not compare("y", f32(-math.inf, 1), f32(math.inf, 1), Tolerance(1e300, 1e300)).passed
    assert not compare("y", f32(3e38, 1), f32(math.inf, 1), LOOSE).passed
    # An infinite reference must not make the limit infinite for the rest of the tensor.
    assert not compare("y", f32(math.inf, 1), f32(math.inf, 2), LOOSE).passed


def test_half_precision_does_not_overflow_in_the_comparison() -> None:
    found = compare("y", np.array([60000], np.float16), np.array([-60000], np.float16), LOOSE)
    assert found.max_error == 120000 - 2 * (60000 - int(np.float16(60000)))


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_integers_have_no_rounding(dtype: str) -> None:
    big = np.array([2**53, 2**53], dtype)
    found = compare("y", big, big + np.array([0, 1], dtype), WIDEST)
    assert not found.passed and found.problem == "1 of 2 differ" and found.max_error >= 1
    assert found.worst[0][0] == (1,)


def test_booleans() -> None:
    found = compare("y", np.array([True, False]), np.array([True, True]), WIDEST)
    assert not found.passed and found.problem == "1 of 2 differ"


def test_worst_elements_come_first() -> None:
    expected = np.zeros((2, 3), np.float32)
    got = np.array([[0, 5, 1], [9, 0, 7]], np.float32)
    found = compare("y", expected, got, EXACT, keep=2)
    assert found.worst == (((1, 0), 0.0, 9.0, 0.0), ((1, 2), 0.0, 7.0, 0.0))


def test_all_outputs_count() -> None:
    expected = {"a": f32(1), "b": f32(2)}
    assert [d.passed for d in compare_all(expected, {"a": f32(1), "b": f32(2)}, EXACT)] == [True, True]
    found = compare_all(expected, {"b": f32(2), "c": f32(3)}, WIDEST)
    assert [(d.output, d.passed, d.problem) for d in found] == [
        ("a", False, "missing"),
        ("b", True, ""),
        ("c", False, "not in the reference"),
    ]


def test_tolerance_to_json_and_back() -> None:
    assert Tolerance().to_json() == {"atol": 1e-6, "rtol": 2e-5}
    filled = Tolerance(1e-3, 1e-2, {"y": ((-2e9, -1e9), (5.0, 5.0))})
    assert filled.to_json() == {"atol": 1e-3, "rtol": 1e-2, "fills": {"y": [[-2e9, -1e9], [5.0, 5.0]]}}
    for tolerance in (Tolerance(), filled):
        assert Tolerance.from_json(json.loads(json.dumps(tolerance.to_json()))) == tolerance
        assert hash(tolerance) == hash(replace(tolerance))  # a key, as before there were fills


@pytest.mark.parametrize(
    "entry",
    [
        {"atol": 0},
        {"rtol": "much", "atol": 0},
        {"atol": -1, "rtol": 0},
        {"atol": 0, "rtol": math.nan},
        *({"atol": 0, "rtol": 0, "fills": {"y": [ends]}} for ends in (
            [-1, -2], [-1, 1], [0, 0], [math.nan, math.nan], [-math.inf, -1], [1, math.inf], [1], [1, 2, 3], ["a", "b"], 5, None
        )),
        {"atol": 0, "rtol": 0, "fills": {"y": 5}},
    ],
)  # fmt: skip
def test_what_is_no_tolerance_is_refused(entry: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Tolerance.from_json(entry)


BANNED = Tolerance(1e-6, 2e-5, {"y": ((-1.1e9, -0.9e9), (0.9e30, 1.1e30)), "z": ((1.0, 2.0),)})
FILLED = f32(1, -2, -1e9, -1e9, 1e30)


def test_fills_are_held_apart() -> None:
    found = compare("y", FILLED, FILLED.copy(), BANNED)
    assert found.passed and found.max_reference == 2 and found.max_fill == pytest.approx(1e30) and found.fill_ratio == 0
    assert found.limit == pytest.approx(1e-6 + 2e-5 * 2)
    wrong = f32(-2, 4, -1e9, -1e9, 1e30)
    assert compare("y", FILLED, wrong, LOOSE).passed  # the old rule, beside which nothing else shows
    found = compare("y", FILLED, wrong, BANNED)
    assert not found.passed and not found.problem and (found.max_error, found.worst[0].place) == (6, (1,))
    assert found.ratio == pytest.approx(6 / found.limit)
    assert not compare("x", FILLED, f32(1, -2, 0, -1e9, 1e30), Tolerance(0, 1e-30, BANNED.fills)).passed


@pytest.mark.parametrize(
    "got",
    [
        f32(1, -2, 0, -1e9, 1e30),  # lost, though its size is nothing beside 1e30
        f32(1, -2, 1e9, -1e9, 1e30),
        f32(1, -2, -1.001e9, -1e9, 1e30),
        f32(1, -2, -math.inf, -1e9, 1e30),
        f32(1, -2, math.nan, -1e9, 1e30),
        f32(1, -1e9, -1e9, -1e9, 1e30),  # where none belongs
        f32(1, -2.001, -1e9, -1e9, 1e30),
    ],
)
def test_a_fill_that_is_lost_or_put_where_none_belongs_is_an_error(got: np.ndarray[Any, Any]) -> None:
    found = compare("y", FILLED, got, BANNED)
    assert not found.passed and found.ratio > 1 and found.worst
    if np.isfinite(got).all() and got[1] == -2:
        assert found.problem.startswith("1 of 3 fill values differ, by up to ") and found.max_error == 0
        assert found.worst[0].place == (2,) and found.worst[0].allowed == pytest.approx(1e-6 + 2e-5 * 1e9)


def test_a_fill_may_be_off_by_its_own_rounding() -> None:
    assert compare("y", FILLED, f32(1, -2, -1.00001e9, -1e9, 1e30), BANNED).passed


def test_answers_that_are_all_fills_are_equal() -> None:
    found = compare("y", np.full((), -1e9), np.full((), -1e9), BANNED)
    assert found.passed and found.max_reference == 0 and found.relative_error == 0 and found.max_fill == 1e9


def test_infinities_beside_fills_are_as_ever() -> None:
    expected = f32(-math.inf, 1, -1e9)
    assert compare("y", expected, expected.copy(), BANNED).passed
    assert not compare("y", expected, f32(-1e9, 1, -1e9), BANNED).passed
    assert not compare("y", expected, f32(-math.inf, 1.1, -1e9), BANNED).passed


def test_integers_have_no_fills() -> None:
    counts = np.array([1, 2], np.int64)
    assert math.isnan(compare("z", counts, counts, BANNED).max_fill)


@pytest.mark.parametrize(
    ("got", "half_io", "passes"),
    [
        ((1, -math.inf, math.inf, -1e4), True, True),
        ((1, -65504, 65504, -1e4), True, True),
        ((1, -math.inf, 7e4, -1e4), False, False),
        ((1, -65504, 7e4, -1e4), False, False),
        ((1, math.inf, 7e4, -1e4), True, False),
        ((1, -65000, 7e4, -1e4), True, False),
        ((1, -1e9, 7e4, -math.inf), True, False),  # -1e4 fits
        ((-math.inf, -1e9, 7e4, -1e4), True, False),
    ],
)
def test_a_float16_border_writes_its_infinity_for_a_fill_that_it_cant_hold(
    got: tuple[float, ...], half_io: bool, passes: bool
) -> None:
    tolerance = Tolerance(1e-5, 1e-2, {"y": ((-1e9, -1e9), (7e4, 7e4), (-1e4, -1e4))})
    assert compare("y", f32(1, -1e9, 7e4, -1e4), f32(*got), tolerance, half_io=half_io).passed is passes


def test_the_largest_value_that_is_no_fill() -> None:
    assert BANNED.largest("y", f32(-1e9, 3, -4, math.inf, math.nan)) == 4
    assert BANNED.largest("y", f32(-1e9, math.inf)) == 0
    assert BANNED.largest("other", f32(-1e9, 3)) == 1e9


def test_a_large_tensor_is_compared_in_pieces_and_told_the_same() -> None:
    """A tensor that lies in an hundred pieces, the worst of it at the end: the numbers are those of the whole in float64."""
    random = np.random.default_rng(0)
    expected = random.standard_normal((7, 3, 65_537)).astype(np.float32).transpose(1, 0, 2)
    expected[2, 6, -1] = -9.0
    got = (expected.astype(np.float64) + 1e-6 * random.standard_normal(expected.shape)).astype(np.float32)
    found = compare("y", expected, got, LOOSE)
    errors = np.abs(expected.astype(np.float64) - got.astype(np.float64))
    assert found.passed and (found.max_error, found.max_reference) == (errors.max(), 9.0)
    assert found.limit == LOOSE.limit(9.0)
    for spoilt in (math.nan, math.inf, 8.0):
        got[2, 6, -1] = spoilt
        assert not compare("y", expected, got, LOOSE).passed
