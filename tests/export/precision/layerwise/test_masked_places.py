"""Which values of a tensor say "not this one", and which are only large."""

from __future__ import annotations

import numpy as np
import pytest
from attn_export.precision.layerwise.masked_places import masked_places

SCORES = np.random.default_rng(0).standard_normal((2, 4, 6, 6)).astype(np.float32)
OFF = np.broadcast_to(np.arange(6) > 3, SCORES.shape)


@pytest.mark.parametrize("number", [-1e4, -65504.0, -1e9, -1e30, np.finfo(np.float32).min])
@pytest.mark.parametrize("form", ["alone", "written", "added"])
def test_masks(number: float, form: str) -> None:
    def made(number: float) -> np.ndarray:
        if form == "alone":
            return np.where(OFF, np.float32(number), np.float32(0))
        return np.where(OFF, np.float32(number), SCORES) if form == "written" else SCORES + OFF * np.float32(number)

    assert (masked_places(made(number), made(max(number, -65504.0))) == OFF).all()
    # What the other graph does not close is compared.
    assert (masked_places(made(number), made(-1.0)) == OFF).all() == (number <= -1e30)


def test_large_activations_are_no_masks() -> None:
    rng = np.random.default_rng(1)
    for value in (
        -np.abs(rng.standard_normal((8, 64))) * 2e4,
        rng.standard_cauchy((8, 64)) * 1e3,
        np.where(np.arange(64) == 7, -6000 * rng.random((8, 64)) - 6000, rng.standard_normal((8, 64))),
    ):
        assert (value <= -5e3).any()
        single = np.clip(value, -65504, 65504).astype(np.float32)
        assert not masked_places(single, single.astype(np.float16).astype(np.float32)).any()
