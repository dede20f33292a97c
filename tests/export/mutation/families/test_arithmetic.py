"""Signs, residuals, operators and roundings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.graphs.mutated import changed, every_change, graph

A, B = np.array([[1, 2.3, 3]], np.float32), np.array([[10, 20, 30]], np.float32)
SUM = "(float[N, T] a, float[N, T] b) => (float[N, T] y) { y = Add(a, b) }"


@pytest.mark.parametrize(
    ("what", "expected"),
    [("Add -> Sub", A - B), ("first summand dropped", B), ("second summand dropped", A)],
)
def test_a_residual(tmp_path: Path, what: str, expected: np.ndarray) -> None:
    np.testing.assert_allclose(changed(graph(tmp_path / "g.onnx", SUM), what, a=A, b=B), expected)


def test_a_summand_that_is_broadcast_goes_and_the_shape_stays(tmp_path: Path) -> None:
    text = "(float[N, T] a, float[M, N, T] b) => (float[M, N, T] y) { y = Add(a, b) }"
    found = changed(graph(tmp_path / "g.onnx", text), "second summand dropped", a=A, b=np.stack([B, B]))
    np.testing.assert_array_equal(found, np.stack([A, A]))


@pytest.mark.parametrize(
    ("op", "what", "expected"),
    [
        ("Sub", "other way round", B - A),
        ("Sub", "Sub -> Add", A + B),
        ("Mul", "Mul -> Add", A + B),
        ("Max", "Max -> Min", A),
        ("Div", "Div -> Mul", A * B),
    ],
)
def test_an_operator_of_two(tmp_path: Path, op: str, what: str, expected: np.ndarray) -> None:
    file = graph(tmp_path / "g.onnx", SUM.replace("Add", op))
    np.testing.assert_allclose(changed(file, what, a=A, b=B), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("op", "what", "expected"),
    [("Neg", "Neg dropped", A), ("Sqrt", "Sqrt dropped", A), ("Floor", "Floor -> Ceil", np.ceil(A))],
)
def test_an_operator_of_one(tmp_path: Path, op: str, what: str, expected: np.ndarray) -> None:
    file = graph(tmp_path / "g.onnx", f"(float[N, T] a) => (float[N, T] y) {{ y = {op}(a) }}")
    np.testing.assert_array_equal(changed(file, what, a=A), expected)


@pytest.mark.parametrize(("what", "expected"), [("ReduceSum", A.sum()), ("ReduceMax", A.max())])
def test_a_mean(tmp_path: Path, what: str, expected: float) -> None:
    text = "(float[N, T] a) => (float[N, K] y) { y = ReduceMean<keepdims = 1>(a, d) }"
    file = graph(tmp_path / "g.onnx", text, {"d": np.array([1])})
    np.testing.assert_allclose(changed(file, f"ReduceMean -> {what}", a=A), [[expected]])


def test_a_pool(tmp_path: Path) -> None:
    text = "(float[1, 1, N] a) => (float[1, 1, M] y) { y = AveragePool<kernel_shape = [3], count_include_pad = 1>(a) }"
    np.testing.assert_array_equal(changed(graph(tmp_path / "g.onnx", text), "-> MaxPool", a=A[None]), [[[3]]])


def test_what_is_rounded_on_the_way(tmp_path: Path) -> None:
    found = changed(graph(tmp_path / "g.onnx", SUM), "rounded to float16", a=A, b=0 * B)
    np.testing.assert_array_equal(found, A.astype(np.float16).astype(np.float32))
    assert found[0, 1] != A[0, 1]


def test_a_typed_graph_is_rounded_already(tmp_path: Path) -> None:
    file = graph(tmp_path / "g.onnx", SUM.replace("float", "float16"))
    assert "rounding" not in {family for family, _ in every_change(file)}
