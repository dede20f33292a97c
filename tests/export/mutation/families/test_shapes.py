"""Axes, transpositions and reshapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from support.graphs.mutated import changed, every_change, graph

X = np.arange(12, dtype=np.float32).reshape(1, 3, 4)


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    e = np.exp(x - x.max(axis, keepdims=True))
    return np.asarray(e / e.sum(axis, keepdims=True))


def test_the_axis_of_a_softmax(tmp_path: Path) -> None:
    file = graph(tmp_path / "g.onnx", "(float[B, 3, 4] x) => (float[B, 3, 4] y) { y = Softmax<axis = -1>(x) }")
    assert {w for f, w in every_change(file) if f == "axis"} == {"axis -1 -> -2"}
    np.testing.assert_allclose(changed(file, "axis -1 -> -2", x=X), softmax(X, -2), rtol=1e-5)


def test_the_axes_of_a_mean(tmp_path: Path) -> None:
    text = "(float[B, 3, 4] x) => (float[B, M, N] y) { y = ReduceMean<keepdims = 1>(x, a) }"
    file = graph(tmp_path / "g.onnx", text, {"a": np.array([1])})
    np.testing.assert_allclose(changed(file, "axes [1] -> [2]", x=X), X.mean(2, keepdims=True))
    assert ("axis", "axes [1] -> [0]") in every_change(file)


def test_an_axis_stays_inside_the_rank(tmp_path: Path) -> None:
    file = graph(tmp_path / "g.onnx", "(float[B, 4] x) => (float[B, 4] y) { y = Softmax<axis = 1>(x) }")
    assert {w for f, w in every_change(file) if f == "axis"} == {"axis 1 -> 0"}


def test_a_transposition(tmp_path: Path) -> None:
    file = graph(tmp_path / "g.onnx", "(float[B, 3, 4] x) => (float[A, C, D] y) { y = Transpose<perm = [0, 2, 1]>(x) }")
    np.testing.assert_array_equal(changed(file, "perm [0, 2, 1] -> [2, 0, 1]", x=X), X.transpose(2, 0, 1))
    assert len([w for f, w in every_change(file) if f == "transposition"]) == 3


def test_heads_the_other_way_round(tmp_path: Path) -> None:
    text = "(float[B, 3, 4] x) => (float[B, N, H, E] y) { y = Reshape(x, s) }"
    file = graph(tmp_path / "g.onnx", text, {"s": np.array([0, 0, 2, -1])})
    found = changed(file, "[0, 0, 2, -1] -> [0, 0, -1, 2]", "transposition", x=X)
    np.testing.assert_array_equal(found, X.reshape(1, 3, 2, 2))


def test_a_square_weight_the_other_way_round(tmp_path: Path) -> None:
    w = np.arange(16, dtype=np.float32).reshape(4, 4)
    file = graph(tmp_path / "g.onnx", "(float[B, 4] x) => (float[B, 4] y) { y = Gemm<transB = 1>(x, w) }", {"w": w})
    np.testing.assert_array_equal(changed(file, "transB 1 -> 0", x=X[0]), X[0] @ w)
