"""Epsilons, scales and exponents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.graphs.mutated import changed, every_change, graph, run

X = np.array([[1, 2, 3, 4]], np.float32)
ONES = {"g": np.ones(4, np.float32)}


def test_the_epsilon_of_a_norm(tmp_path: Path) -> None:
    text = "(float[B, 4] x) => (float[B, 4] y) { y = LayerNormalization<axis = -1, epsilon = 1e-5>(x, g) }"
    file = graph(tmp_path / "g.onnx", text, ONES)
    told = {what for family, what in every_change(file) if family == "epsilon"}
    assert told == {"1e-05 -> 0.0001", "1e-05 -> 1e-06", "1e-05 -> 0.001"}
    x = 1e-2 * X
    expected = (x - x.mean()) / np.sqrt(x.var() + 1e-3)
    np.testing.assert_allclose(changed(file, "1e-05 -> 0.001", x=x), expected, rtol=1e-5)


@pytest.mark.parametrize("epsilon", [1e-12, 1e-5])
def test_an_epsilon_that_is_added(tmp_path: Path, epsilon: float) -> None:
    text = "(float[B, 4] x) => (float[B, 4] y) { y = Add(x, e) }"
    file = graph(tmp_path / "g.onnx", text, {"e": np.array(epsilon, np.float32)})
    np.testing.assert_allclose(changed(file, "-> 0.001", "epsilon", x=0 * X), np.full((1, 4), 1e-3), rtol=1e-6)


def test_a_number_that_is_no_epsilon(tmp_path: Path) -> None:
    file = graph(
        tmp_path / "g.onnx", "(float[B, 4] x) => (float[B, 4] y) { y = Add(x, e) }", {"e": np.float32(0.5)[None]}
    )
    assert "epsilon" not in {family for family, _ in every_change(file)}


@pytest.mark.parametrize(
    ("op", "what", "expected"),
    [
        ("Mul", "0.25 -> 0.2625", X * 0.2625),
        ("Mul", "0.25 -> 0.2375", X * 0.2375),
        ("Mul", "Mul by 0.25 dropped", X),
        ("Div", "Div by 0.25 dropped", X),
    ],
)
def test_a_scale(tmp_path: Path, op: str, what: str, expected: np.ndarray) -> None:
    text = f"(float[B, 4] x) => (float[B, 4] y) {{ y = {op}(x, s) }}"
    file = graph(tmp_path / "g.onnx", text, {"s": np.array(0.25, np.float32)})
    np.testing.assert_allclose(changed(file, what, "scale", x=X), expected, rtol=1e-6)


def test_a_scale_behind_the_cast_of_a_typed_graph(tmp_path: Path) -> None:
    text = "(float16[B, 4] x) => (float16[B, 4] y) { h = Cast<to = 10>(s) y = Mul(x, h) }"
    file = graph(tmp_path / "g.onnx", text, {"s": np.array(0.25, np.float32)})
    found = changed(file, "0.25 -> 0.2625", "scale", x=X.astype(np.float16))
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, X * 0.2625, rtol=1e-3)


def test_scores_without_a_scale_of_their_own(tmp_path: Path) -> None:
    file = graph(tmp_path / "g.onnx", "(float[B, 4] x, float[4, C] z) => (float[B, C] y) { y = MatMul(x, z) }")
    z = np.eye(4, dtype=np.float32)
    np.testing.assert_allclose(changed(file, "times 1.05", x=X, z=z), 1.05 * run(file, x=X, z=z), rtol=1e-6)


def test_an_exponent(tmp_path: Path) -> None:
    file = graph(tmp_path / "g.onnx", "(float[B, 4] x) => (float[B, 4] y) { y = Pow(x, p) }", {"p": np.float32([2])})
    np.testing.assert_allclose(changed(file, "2 -> 3", "exponent", x=X), X**3, rtol=1e-6)
