"""Inputs that no golden case holds."""

from __future__ import annotations

import numpy as np
from attn_export.mutation.unseen_inputs import edges, fresh_inputs
from attn_export.reference import is_mask
from attn_runtime.bundle import Case
from attn_runtime.spec import Dim, TensorSpec, Values

B, T = Dim("B", 1, 2, 3), Dim("T", 1, 4, 9)
TOKENS = TensorSpec("tokens", "int64", (B, T), low=0, high=50)
MASK = TensorSpec("mask", "bool", (B, T))
ZERO_ONE = TensorSpec("keep", "int32", (B, T), low=0, high=2)
X = TensorSpec("x", "float32", (B, T))


def drawn(*specs: TensorSpec, seed: int = 1) -> dict[str, Case]:
    return {c.name: c for c in fresh_inputs(specs, seed)}


def test_sizes_at_the_corners_and_between() -> None:
    sizes = [tuple(c.sizes.values()) for c in fresh_inputs([X], 1)]
    assert {(1, 1), (2, 4), (3, 9), (1, 9), (3, 1)} <= set(sizes) and len(set(sizes)) > 6
    assert all(1 <= b <= 3 and 1 <= t <= 9 for b, t in sizes)


def test_the_edges_of_a_mask() -> None:
    for spec in (MASK, ZERO_ONE):
        assert is_mask(spec)
        cases = drawn(spec)
        rows = {n.removeprefix(f"{spec.name} "): c.inputs[spec.name] for n, c in cases.items() if spec.name in n}
        assert not rows["with an empty row"][0].any() and rows["all on"].all()
        left = rows["padded on the left"]
        assert not left[:, : left.shape[1] // 2].any() and left[:, -1].all()
        assert (rows["one on"].sum(-1) == 1).all() and rows["one on"].dtype == spec.dtype


def test_first_last_and_every_id() -> None:
    cases = drawn(TOKENS)
    assert set(cases["tokens all first"].inputs["tokens"].ravel()) == {0}
    assert set(cases["tokens all last"].inputs["tokens"].ravel()) == {49}
    counted = [c.inputs["tokens"].ravel() for n, c in cases.items() if "counted" in n]
    assert set(np.concatenate(counted)) == set(range(50))


def test_a_great_vocabulary_is_not_counted_to_its_end() -> None:
    many = [n for n in drawn(TensorSpec("t", "int64", (B, T), low=0, high=50_000)) if "counted" in n]
    assert len(many) == 8


def test_magnitudes() -> None:
    cases = drawn(X)
    large, tiny = cases["inputs times 100"].inputs["x"], cases["inputs times 0.001"].inputs["x"]
    np.testing.assert_allclose(large, tiny * 1e5, rtol=1e-5)
    assert large.dtype == np.float32
    assert not [n for n in drawn(TOKENS) if "times" in n]


def test_magnitudes_stay_within_the_bounds_that_are_declared() -> None:
    cases = drawn(TensorSpec("x", "float32", (B, T), values=Values("uniform", low=0, high=1)))
    assert cases["inputs times 100"].inputs["x"].max() == 1
    assert 0 <= cases["inputs times 0.001"].inputs["x"].max() < 1e-3


def test_other_inputs_stay_as_they_are() -> None:
    base = Case("edge", {"B": 1, "T": 2}, {"x": np.ones((1, 2), np.float32), "mask": np.ones((1, 2), bool)}, {})
    for case in edges([X, MASK], base):
        changed = [n for n in base.inputs if not np.array_equal(base.inputs[n], case.inputs[n])]
        assert len(changed) <= 1


def test_the_seed_decides_and_large_inputs_are_cut() -> None:
    assert all(np.array_equal(a.inputs["x"], drawn(X)[n].inputs["x"]) for n, a in drawn(X).items())
    assert not np.array_equal(drawn(X)["max"].inputs["x"], drawn(X, seed=2)["max"].inputs["x"])
    wide = TensorSpec("x", "float32", (Dim("B", 1, 2, 64), Dim.fixed(1 << 18)))
    assert all(c.inputs["x"].nbytes <= 4 << 20 for c in fresh_inputs([wide], 0))
