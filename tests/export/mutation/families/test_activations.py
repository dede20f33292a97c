"""Activations: another curve of nearly the same shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.graphs.mutated import changed, graph, run

X = np.linspace(-4, 4, 41, dtype=np.float32)[None]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def tanh_gelu(x: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))))


@pytest.mark.parametrize(
    ("op", "what", "expected"),
    [
        ("Gelu", "approximate none -> tanh", tanh_gelu(X)),
        ("Gelu", "1.702", X * sigmoid(1.702 * X)),
        ("Gelu", "GELU -> ReLU", np.maximum(X, 0)),
        ("Tanh", "hard tanh", np.clip(X, -1, 1)),
        ("Sigmoid", "hard sigmoid", np.clip(X / 6 + 0.5, 0, 1)),
        ("Sigmoid", "1.702", sigmoid(1.702 * X)),
        ("Relu", "dropped", X),
        ("Relu", "leaky", np.where(X > 0, X, 0.01 * X)),
        ("HardSwish", "smooth", X * sigmoid(X)),
        ("Sin", "Sin -> Cos", np.cos(X)),
        ("Softplus", "ReLU", np.maximum(X, 0)),
    ],
)
def test_a_curve(tmp_path: Path, op: str, what: str, expected: np.ndarray) -> None:
    file = graph(tmp_path / "g.onnx", f"(float[B, T] x) => (float[B, T] y) {{ y = {op}(x) }}")
    np.testing.assert_allclose(changed(file, what, "activation", x=X), expected, rtol=1e-5, atol=1e-6)


def test_erf_and_its_tanh_form_are_near_and_not_the_same(tmp_path: Path) -> None:
    file = graph(tmp_path / "g.onnx", "(float[B, T] x) => (float[B, T] y) { y = Erf(x) }")
    error = np.abs(changed(file, "its tanh form", x=X) - run(file, x=X)).max()
    assert 1e-5 < error < 1e-2


def test_a_sharper_softmax(tmp_path: Path) -> None:
    file = graph(tmp_path / "g.onnx", "(float[B, T] x) => (float[B, T] y) { y = Softmax<axis = -1>(x) }")
    e = np.exp(1.05 * X)
    np.testing.assert_allclose(changed(file, "sharper", x=X), e / e.sum(), rtol=1e-4)
