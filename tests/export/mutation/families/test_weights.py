"""Weights: each change is what it says, and a tensor that it would leave as it is is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attn_export.mutation import Mutants
from attn_export.mutation.families import Unchanged
from support.graphs.mutated import changed, every_change, graph, run

X = np.eye(4, dtype=np.float32)
W = np.arange(12, dtype=np.float32).reshape(4, 3) + 1
LINEAR = "(float[B, 4] x) => (float[B, 3] y) { p = MatMul(x, w) y = Add(p, b) }"


@pytest.fixture
def linear(tmp_path: Path) -> Path:
    return graph(tmp_path / "g.onnx", LINEAR, {"w": W, "b": np.array([1, 2, 3], np.float32)})


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("w: negated", -W),
        ("w: times 1.02", W * np.float32(1.02)),
        ("w: two rows swapped", W[[2, 1, 0, 3]]),
        ("w: rows turned by one", W[[3, 0, 1, 2]]),
        ("w: columns turned by one", W[:, [2, 0, 1]]),
        ("w: one row 0", W * np.array([[1], [1], [0], [1]], np.float32)),
    ],
)
def test_a_matrix(linear: Path, what: str, expected: np.ndarray) -> None:
    np.testing.assert_allclose(changed(linear, what, x=X), expected + np.array([1, 2, 3], np.float32), rtol=1e-6)


@pytest.mark.parametrize(
    ("what", "bias"),
    [("dropped", [0, 0, 0]), ("negated", [-1, -2, -3]), ("turned by one", [3, 1, 2])],
)
def test_a_bias(linear: Path, what: str, bias: list[float]) -> None:
    np.testing.assert_array_equal(changed(linear, f"b: {what}", "bias", x=0 * X)[0], bias)


def test_the_original_keeps_its_weights(linear: Path) -> None:
    before = run(linear, x=X)
    changed(linear, "w: negated", x=X)
    np.testing.assert_array_equal(run(linear, x=X), before)


def test_a_bias_of_zeros_has_no_sign(tmp_path: Path) -> None:
    mutants = Mutants(graph(tmp_path / "g.onnx", LINEAR, {"w": W, "b": np.zeros(3, np.float32)}))
    sites = [s for s in mutants.draw(0) if s.mutant.family == "bias"]
    assert len(sites) == 4
    for site in sites:
        with pytest.raises(Unchanged):
            mutants.write(site, tmp_path / "m.onnx")


def test_a_weight_that_two_nodes_read_is_one_place(tmp_path: Path) -> None:
    text = "(float[B, 3] x) => (float[B, 3] y) { p = MatMul(x, w) y = MatMul(p, w) }"
    square = graph(tmp_path / "g.onnx", text, {"w": np.arange(9, dtype=np.float32).reshape(3, 3)})
    names = [s.mutant.what for s in Mutants(square).draw(0) if s.mutant.family == "weight"]
    assert len(names) == len(set(names))
    # Both readers see the change: (-w)(-w) = w w.
    x = np.eye(3, dtype=np.float32)
    np.testing.assert_array_equal(changed(square, "w: negated", x=x), run(square, x=x))


def test_constants_of_whole_numbers_are_no_weights(tmp_path: Path) -> None:
    text = "(float[B, 4] x) => (float[2, C] y) { y = Reshape(x, s) }"
    assert not {f for f, _ in every_change(graph(tmp_path / "g.onnx", text, {"s": np.array([2, -1])}))} & {"weight"}
