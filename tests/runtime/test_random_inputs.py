"""Drawn inputs fit their specs, and come back the same from the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from attn_runtime.errors import UsageError
from attn_runtime.random_inputs import draw_inputs
from attn_runtime.spec import DTYPES, Dim, TensorSpec, Values, check_shapes, signature

BATCH = Dim("batch", 1, 8, 32)
IMAGE = TensorSpec("image", "float32", (BATCH, Dim.fixed(3), Dim.fixed(64)))
TOKENS = TensorSpec("tokens", "int64", (BATCH, Dim("T", 1, 100, 256)), low=5, high=9)
MASK = TensorSpec("mask", "bool", (BATCH, Dim("T", 1, 100, 256)))


@pytest.mark.parametrize("sizes", [{}, {"batch": 1, "T": 1}, {"batch": 32, "T": 256}])
def test_inputs_fit_their_specs(sizes: dict[str, int]) -> None:
    specs = [IMAGE, TOKENS, MASK]
    check_shapes(specs, {name: signature(value) for name, value in draw_inputs(specs, sizes, 0).items()}, "drawn")


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_every_dtype(dtype: str) -> None:
    spec = TensorSpec("x", dtype, (Dim.fixed(1000),), low=0, high=100)
    value = draw_inputs([spec], {}, 0)["x"]
    assert value.dtype == dtype
    assert len(np.unique(value)) > 1


def test_same_seed_same_inputs() -> None:
    one, same, other = (draw_inputs([IMAGE, TOKENS, MASK], {}, seed) for seed in (1, 1, 2))
    for name in one:
        np.testing.assert_array_equal(one[name], same[name])
        assert not np.array_equal(one[name], other[name])


def test_one_more_input_changes_no_other() -> None:
    np.testing.assert_array_equal(
        draw_inputs([MASK, TOKENS, IMAGE], {}, 3)["image"], draw_inputs([IMAGE], {}, 3)["image"]
    )


def test_two_inputs_of_one_shape_differ() -> None:
    drawn = draw_inputs([TensorSpec("q", "float32", IMAGE.dims), TensorSpec("k", "float32", IMAGE.dims)], {}, 0)
    assert not np.array_equal(drawn["q"], drawn["k"])


def test_floats_are_standard_normal() -> None:
    value = draw_inputs([IMAGE], {"batch": 32}, 0)["image"]
    assert abs(float(value.mean())) < 0.05 and abs(float(value.std()) - 1) < 0.05


def test_integers_stay_in_range() -> None:
    value = draw_inputs([TOKENS], {"batch": 32}, 0)["tokens"]
    assert set(np.unique(value)) == {5, 6, 7, 8}
    negative = TensorSpec("x", "int8", (Dim.fixed(500),), low=-2, high=1)
    assert set(np.unique(draw_inputs([negative], {}, 0)["x"])) == {-2, -1, 0}


def test_masks_keep_something_in_every_row() -> None:
    for seed in range(20):
        value = draw_inputs([MASK], {"batch": 32, "T": 2}, seed)["mask"]
        assert value.any(axis=-1).all()
    assert 0.7 < draw_inputs([MASK], {"batch": 32}, 0)["mask"].mean() < 0.8
    assert draw_inputs([TensorSpec("m", "bool", (Dim("T", 0, 0, 4),))], {}, 0)["m"].shape == (0,)


def test_integers_without_a_range_are_not_guessed() -> None:
    with pytest.raises(UsageError, match=r"'tokens:int64\[batch,T\]<1000'"):
        draw_inputs([TensorSpec("tokens", "int64", TOKENS.dims)], {}, 0)


FLOATS = ("float16", "float32", "float64")
MANY = (Dim.fixed(20_000),)


def drawn(dtype: str, values: Values, dims: tuple[Dim, ...] = MANY, seed: int = 0) -> np.ndarray:
    value = draw_inputs([TensorSpec("x", dtype, dims, values=values)], {}, seed)["x"]
    assert value.dtype == dtype and isinstance(value, np.ndarray)
    assert np.array_equal(value, draw_inputs([TensorSpec("x", dtype, dims, values=values)], {}, seed)["x"])
    return value


@pytest.mark.parametrize("dtype", FLOATS)
def test_declared_distributions_have_their_moments(dtype: str) -> None:
    uniform = drawn(dtype, Values("uniform", low=2, high=5)).astype(np.float64)
    assert abs(uniform.mean() - 3.5) < 0.03 and abs(uniform.std() - 3 / 12**0.5) < 0.03
    assert uniform.min() < 2.01 and uniform.max() > 4.98
    normal = drawn(dtype, Values("normal", -3, 0.5)).astype(np.float64)
    assert abs(normal.mean() + 3) < 0.02 and abs(normal.std() - 0.5) < 0.02
    lognormal = np.log(drawn(dtype, Values("lognormal", 1, 0.25)).astype(np.float64))
    assert abs(lognormal.mean() - 1) < 0.02 and abs(lognormal.std() - 0.25) < 0.02


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("low", "high"), [(0.1, 0.7), (-0.3, 0.1), (1.0, 1.002), (-65504.0, 65504.0)])
def test_no_value_leaves_its_bounds_by_rounding(dtype: str, low: float, high: float) -> None:
    # A tenth is above or below itself as float16 and as float32, and a uniform one never reaches its upper bound.
    uniform = [float(x) for x in drawn(dtype, Values("uniform", low=low, high=high))]
    assert low <= min(uniform) and max(uniform) < high
    clipped = [float(x) for x in drawn(dtype, Values("normal", low, abs(high), low, high))]
    assert low <= min(clipped) and max(clipped) <= high
    assert drawn(dtype, Values("uniform", low=low, high=high), ()).shape == ()


@pytest.mark.parametrize("dtype", FLOATS)
def test_what_is_drawn_is_finite(dtype: str) -> None:
    assert np.isfinite(drawn(dtype, Values("lognormal", 0, 300))).all()
    limit = float(np.finfo(dtype).max)
    assert np.isfinite(drawn(dtype, Values("normal", limit, limit))).all()
    assert (drawn(dtype, Values("normal", 7, 0)) == 7).all()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (Values("normal", 1e5, 1), "float16 ends at 65504, before 100000"),
        (Values("lognormal", 12, 1), "float16 ends at 65504"),
        (Values("lognormal", 1e300, 1), "float16 ends at 65504"),
        (Values("uniform", low=1.0001, high=1.0002), "float16 has no number in between"),
    ],
)
def test_a_distribution_that_the_dtype_cannot_hold_is_told(values: Values, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        draw_inputs([TensorSpec("x", "float16", MANY, values=values)], {}, 0)


@pytest.mark.parametrize("count", [2, 3, 7, 50, 99])
@pytest.mark.parametrize(("low", "high"), [(0, 100), (-50, 50), (2**62, 2**62 + 100), (0, 2**63), (-(2**63), 2**63)])
def test_integers_are_distinct_with_both_ends(low: int, high: int, count: int) -> None:
    spec = TensorSpec("ids", "int64", (Dim.fixed(count),), low=low, high=high)
    orders = set()
    for seed in range(5):
        value = draw_inputs([spec], {}, seed)["ids"].tolist()
        assert len(set(value)) == count and {low, high - 1} <= set(value)
        assert all(low <= v < high for v in value)
        orders.add(value.index(low))
    assert len(orders) > 1 or count == 2


@pytest.mark.parametrize("shape", [(100,), (10, 11), (7, 300)])
def test_an_array_as_large_as_the_range_has_every_id(shape: tuple[int, ...]) -> None:
    spec = TensorSpec("ids", "int32", tuple(map(Dim.fixed, shape)), low=3, high=103)
    value = draw_inputs([spec], {}, 4)["ids"]
    assert value.shape == shape and set(value.ravel().tolist()) == set(range(3, 103))
    if value.size > 1000:  # the rest is even
        assert np.bincount(value.ravel() - 3).max() < 60


def test_the_smallest_and_the_widest_arrays_of_integers() -> None:
    one = TensorSpec("ids", "int64", (), low=5, high=9)
    assert {int(draw_inputs([one], {}, seed)["ids"]) for seed in range(40)} == {5, 6, 7, 8}
    assert draw_inputs([TensorSpec("ids", "int64", (Dim.fixed(4),), low=2, high=3)], {}, 0)["ids"].tolist() == [2] * 4
    assert draw_inputs([TensorSpec("ids", "int64", (Dim("T", 0, 0, 4),), low=2, high=3)], {}, 0)["ids"].shape == (0,)
    wide = TensorSpec("ids", "uint64", (Dim.fixed(5),), low=0, high=2**64)
    assert {0, 2**64 - 1} <= set(draw_inputs([wide], {}, 0)["ids"].tolist())
