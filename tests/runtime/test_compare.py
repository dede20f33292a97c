"""A comparison passes for equal tensors and for nothing else."""

from __future__ import annotations

import math
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
    assert not found.passed and found.max_error == 1 and found.worst == (((), 0.0, 1.0),)


def test_limit_is_relative_to_the_largest_reference() -> None:
    expected = f32(1000.0, 0.0)
    assert compare("y", expected, f32(1000.0, 0.019), LOOSE).passed
    found = compare("y", expected, f32(1000.0, 0.021), LOOSE)
    assert not found.passed
    assert found.limit == pytest.approx(1e-6 + 2e-5 * 1000)
    assert found.max_error == pytest.approx(0.021, rel=1e-6) and found.max_reference == 1000
    assert found.relative_error == pytest.approx(2.1e-5, rel=1e-5)
    assert found.worst[0] == ((1,), 0.0, pytest.approx(0.021))


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
    assert found.worst == (((1, 0), 0.0, 9.0), ((1, 2), 0.0, 7.0))


def test_all_outputs_count() -> None:
    expected = {"a": f32(1), "b": f32(2)}
    assert [d.passed for d in compare_all(expected, {"a": f32(1), "b": f32(2)}, EXACT)] == [True, True]
    found = compare_all(expected, {"b": f32(2), "c": f32(3)}, WIDEST)
    assert [(d.output, d.passed, d.problem) for d in found] == [
        ("a", False, "missing"),
        ("b", True, ""),
        ("c", False, "not in the reference"),
    ]


def test_tolerance_to_json() -> None:
    assert Tolerance().to_json() == {"atol": 1e-6, "rtol": 2e-5}
