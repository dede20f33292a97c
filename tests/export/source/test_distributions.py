"""How a float input is drawn: from an example where nothing is declared. What a declaration may be: test_input_specs.py."""

from __future__ import annotations

import math

import numpy as np
import pytest
from attn_export.source.distributions import values_of_examples
from attn_runtime.random_inputs import draw_inputs
from attn_runtime.spec import Dim, TensorSpec, Values

X = TensorSpec("x", "float32", (Dim("T", 1, 4, 9),))


def test_a_float_is_drawn_as_all_examples_show_it() -> None:
    examples = [{"x": np.array([0.0, 1.0, 2.0], np.float32)}, {"x": np.array([7.0], np.float32)}]
    (spec,), told = values_of_examples([X], examples)
    assert spec.values is not None and spec.values.std == pytest.approx(np.std([0, 1, 2, 7]))
    assert spec.values == Values("normal", 2.5, spec.values.std, 0, 7)
    assert told == ["x: drawn as normal(2.5, 2.693) clipped to 0..7, from --example"]
    drawn = draw_inputs([spec], {"T": 9}, 0)["x"]
    assert drawn.min() >= 0 and drawn.max() <= 7


def test_what_is_declared_or_no_float_stays() -> None:
    declared = TensorSpec("x", "float32", (), values=Values("uniform", low=0, high=1))
    others = [TensorSpec("ids", "int64", (), low=0, high=9), TensorSpec("mask", "bool", ())]
    arrays = {"x": np.float32([1, 2]), "ids": np.array([1, 2]), "mask": np.array([True, False])}
    assert values_of_examples([declared, *others], [arrays]) == ((declared, *others), [])


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([], "shows no number;"),
        ([0.5, 0.5, 0.5], "shows 0.5 alone;"),
        ([math.nan, math.inf], "shows no number (without 2 that are not finite);"),
        ([0.0, -math.inf, 0.0], "shows 0 alone (without 1 that are not finite);"),  # an additive mask
    ],
)
def test_an_example_that_shows_no_spread_leaves_a_standard_normal(value: list[float], says: str) -> None:
    (spec,), (told,) = values_of_examples([X], [{"x": np.array(value, np.float32)}])
    assert spec.values is None and "drawn as a standard normal" in told and says in told
    assert "--input 'x:...~uniform(LOW,HIGH)'" in told


def test_what_is_not_finite_is_left_out() -> None:
    value = np.array([math.nan, 1.0, -math.inf, 3.0], np.float32)
    (spec,), (told,) = values_of_examples([X], [{"x": value}])
    assert spec.values == Values("normal", 2, 1, 1, 3) and told.endswith("(without 2 that are not finite)")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_largest_numbers_of_a_dtype_are_drawn(dtype: str) -> None:
    most = np.finfo(dtype).max
    (spec,), _ = values_of_examples([TensorSpec("x", dtype, (Dim.fixed(9),))], [{"x": np.array([-most, most])}])
    assert spec.values is not None and spec.values.std == pytest.approx(float(most))
    assert np.isfinite(draw_inputs([spec], {}, 0)["x"]).all()
