"""Drawn inputs fit their specs, and come back the same from the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from attn_runtime.errors import UsageError
from attn_runtime.random_inputs import draw_inputs
from attn_runtime.spec import DTYPES, Dim, TensorSpec, check_shapes, signature

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
