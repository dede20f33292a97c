"""Dims, tensor specs, and the house errors of a wrong input."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from attn_runtime.errors import InputError, UsageError
from attn_runtime.spec import DTYPES, Dim, TensorSpec, Values, check_shapes, named_dims, signature

BATCH = Dim("batch", 1, 8, 32)
LENGTH = Dim("T", 1, 128, 256)
TOKENS = TensorSpec("tokens", "int64", (BATCH, LENGTH), "token ids", "", 0, 30000)
MASK = TensorSpec("mask", "bool", (BATCH, LENGTH))
IMAGE = TensorSpec("image", "float32", (BATCH, Dim.fixed(3)))


@pytest.mark.parametrize("sizes", [(2, 1, 3), (1, 4, 3), (-1, 0, 1), (3, 3, 2)])
def test_dim_needs_order(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError, match=rf"dim T: needs 0 <= min <= opt <= max, got {':'.join(map(str, sizes))}"):
        Dim("T", *sizes)


def test_dim_speaks_of_itself() -> None:
    assert [str(dim) for dim in (BATCH, Dim("batch", 4, 4, 4), Dim.fixed(3))] == ["batch=1..32", "batch=4", "3"]
    assert [dim.dynamic for dim in (BATCH, Dim("batch", 4, 4, 4), Dim.fixed(3))] == [True, False, False]
    assert Dim("empty", 0, 0, 0).max == 0


@pytest.mark.parametrize("spec", [TOKENS, MASK, IMAGE, TensorSpec("scalar", "float16", (), unit="ms", low=-1)])
def test_spec_survives_json(spec: TensorSpec) -> None:
    assert TensorSpec.from_json(spec.to_json()) == spec


def test_zero_bounds_are_kept() -> None:
    """0 is a bound, and not the absence of one."""
    assert TOKENS.to_json()["low"] == 0


def test_dtypes_are_numpys() -> None:
    assert {np.dtype(name).name for name in DTYPES} == DTYPES
    with pytest.raises(UsageError, match='tensor "x": unknown dtype bfloat16; one of bool, float16'):
        TensorSpec("x", "bfloat16", ())


def test_shape_takes_opt_where_nothing_is_said() -> None:
    assert TOKENS.shape({"T": 5}) == (8, 5)
    assert IMAGE.shape({"batch": 1, "other": 9}) == (1, 3)


def test_named_dims_in_order_of_use() -> None:
    assert list(named_dims([IMAGE, TOKENS])) == ["batch", "T"]


def shapes(**given: tuple[str, tuple[int, ...]]) -> dict[str, tuple[str, tuple[int, ...]]]:
    return given


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            shapes(tokens=("int64", (1, 300)), mask=("bool", (1, 300))),
            'input "tokens": got int64 [1, 300]; dim T allows 1..256 (bundle translate.attn). '
            "Re-export with --dim T=1:128:300.",
        ),
        (
            shapes(tokens=("int64", (1, 0)), mask=("bool", (1, 0))),
            'input "tokens": got int64 [1, 0]; dim T allows 1..256 (bundle translate.attn). Give T a size of these.',
        ),
        (
            shapes(tokens=("int32", (1, 5)), mask=("bool", (1, 5))),
            'input "tokens": got int32 [1, 5]; expected dtype int64 (bundle translate.attn). Convert it before the call.',
        ),
        (
            shapes(tokens=("int64", (5,)), mask=("bool", (1, 5))),
            'input "tokens": got int64 [5]; expected rank 2: tokens: int64[batch=1..32, T=1..256] (bundle translate.attn).',
        ),
        (
            shapes(tokens=("int64", (1, 5)), mask=("bool", (2, 5))),
            'input "mask": got bool [2, 5]; dim batch is 2 here and 1 in input "tokens" (bundle translate.attn).',
        ),
        (
            shapes(tokens=("int64", (1, 5)), masc=("bool", (1, 5))),
            "missing input mask; unknown input masc; expected tokens, mask (bundle translate.attn)",
        ),
        (
            shapes(tokens=("int64", (1, 5)), mask=("bool", (1, 5))) | shapes(**{"x" * 5000: ("bool", (1,))}),
            f"unknown input {'x' * 200}...; expected tokens, mask (bundle translate.attn)",
        ),
        (shapes(tokens=("int64", (1, 5))), "missing input mask; expected tokens, mask (bundle translate.attn)"),
    ],
)
def test_wrong_inputs_are_told_in_the_house_form(given: dict[str, tuple[str, tuple[int, ...]]], message: str) -> None:
    with pytest.raises(InputError) as caught:
        check_shapes([TOKENS, MASK], given, "bundle translate.attn")
    assert str(caught.value) == message
    assert caught.value.exit_code == 7


def test_fixed_axis_says_so() -> None:
    with pytest.raises(InputError, match=r'input "image": got float32 \[1, 4\]; axis 1 is fixed at 3'):
        check_shapes([IMAGE], shapes(image=("float32", (1, 4))), "a")


@pytest.mark.parametrize("size", [1, 32])
def test_both_ends_of_a_range_are_inside(size: int) -> None:
    check_shapes([IMAGE], {"image": signature(np.zeros((size, 3), np.float32))}, "a")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (Values("uniform", low=0, high=1), "uniform(0, 1)"),
        (Values("normal", 0.5, 2), "normal(0.5, 2)"),
        (Values("lognormal", -1, 0, -1, 1e9), "lognormal(-1, 0, -1, 1e+09)"),
    ],
)
def test_values_come_back_from_json_and_are_shown(values: Values, text: str) -> None:
    spec = TensorSpec("x", "float16", (Dim("batch", 1, 2, 4),), values=values)
    assert TensorSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert str(values) == text and str(spec) == f"x: float16[batch=1..4] ~ {text}"
    assert "values" not in TensorSpec("x", "float16", ()).to_json()


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"kind": "cauchy"}, "got distribution cauchy, expected one of uniform, normal, lognormal"),
        ({"kind": "uniform"}, "got uniform with no numbers, expected low and high"),
        ({"kind": "uniform", "mean": 0, "std": 1}, "got uniform with mean, std, expected low and high"),
        ({"kind": "normal", "mean": 0}, "expected mean and std or mean, std, low, high"),
        ({"kind": "normal", "mean": 0, "std": 1, "low": 0}, "got normal with mean, std, low"),
        ({"kind": "normal", "mean": 0, "std": -1}, "got std -1, expected 0 or more"),
        ({"kind": "normal", "mean": math.nan, "std": 1}, "got mean nan, expected a finite number"),
        ({"kind": "uniform", "low": 1, "high": 1}, "got low 1 and high 1, expected low < high"),
        ({"kind": "uniform", "low": 2**53, "high": 2**53 + 1}, "expected low < high"),
    ],
)
def test_numbers_that_make_no_distribution_are_told(told: dict, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        Values(**told)
    assert says in str(caught.value)


def test_values_are_for_floats() -> None:
    with pytest.raises(UsageError, match="for int64, expected a float dtype"):
        TensorSpec("x", "int64", (), values=Values("uniform", low=0, high=1))
