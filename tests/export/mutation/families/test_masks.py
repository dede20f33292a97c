"""Conditions, comparisons and fills."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.graphs.mutated import changed, every_change, graph

X = np.array([[1, 2, 3]], np.float32)
C = np.array([[True, False, True]])
WHERE = "(bool[B, T] c, float[B, T] x) => (float[B, T] y) { y = Where(c, x, z) }"
Z = {"z": np.array(-1e9, np.float32)}


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("condition always True", [[1, 2, 3]]),
        ("condition always False", [[-1e9] * 3]),
        ("branches swapped", [[-1e9, 2, -1e9]]),
        ("fill -1e+09 -> -10", [[1, -10, 3]]),
        ("fill -1e+09 -> 0", [[1, 0, 3]]),
    ],
)
def test_a_condition(tmp_path: Path, what: str, expected: list[list[float]]) -> None:
    file = graph(tmp_path / "g.onnx", WHERE, Z)
    np.testing.assert_array_equal(changed(file, what, "mask", c=C, x=X), np.array(expected, np.float32))


@pytest.mark.parametrize(
    ("op", "what", "expected"),
    [
        ("Less", "Less -> LessOrEqual", [False, True, True]),
        ("GreaterOrEqual", "GreaterOrEqual -> Greater", [True, False, False]),
        ("Less", "Less inverted", [True, True, False]),
        ("Equal", "Equal inverted", [True, False, True]),
    ],
)
def test_a_comparison(tmp_path: Path, op: str, what: str, expected: list[bool]) -> None:
    text = f"(float[N] a, float[N] b) => (bool[N] y) {{ y = {op}(a, b) }}"
    a, b = np.array([2, 2, 2], np.float32), np.array([1, 2, 3], np.float32)
    assert changed(graph(tmp_path / "g.onnx", text), what, "mask", a=a, b=b).tolist() == expected


@pytest.mark.parametrize(("what", "expected"), [("And -> Or", [1, 1]), ("And inverted", [1, 1])])
def test_two_masks(tmp_path: Path, what: str, expected: list[int]) -> None:
    file = graph(tmp_path / "g.onnx", "(bool[N] a, bool[N] b) => (bool[N] y) { y = And(a, b) }")
    found = changed(file, what, "mask", a=np.array([True, False]), b=np.array([False, True]))
    assert found.astype(int).tolist() == expected


def test_a_mask_that_is_not_inverted(tmp_path: Path) -> None:
    file = graph(tmp_path / "g.onnx", "(bool[N] a) => (bool[N] y) { y = Not(a) }")
    assert changed(file, "Not dropped", "mask", a=np.array([True, False])).tolist() == [True, False]


def test_a_triangle(tmp_path: Path) -> None:
    text = "(float[3, 3] x) => (float[3, 3] y) { y = Trilu<upper = 0>(x, k) }"
    file, x = graph(tmp_path / "g.onnx", text, {"k": np.array(0)}), np.ones((3, 3), np.float32)
    np.testing.assert_array_equal(changed(file, "the other triangle", x=x), np.triu(x))
    np.testing.assert_array_equal(changed(file, "diagonal 0 -> 1", x=x), np.tril(x, 1))


def test_a_constant_mask(tmp_path: Path) -> None:
    text = "(float[B, 3] x) => (float[B, 3] y) { y = Where(m, x, z) }"
    file = graph(tmp_path / "g.onnx", text, {"m": np.array([True, False, False]), "z": np.array(0.0, np.float32)})
    np.testing.assert_array_equal(changed(file, "constant mask m inverted", x=X), [[0, 2, 3]])


def test_attention_that_is_one_node(tmp_path: Path) -> None:
    text = "(float[1, 2, 3, 4] q) => (float[1, 2, 3, 4] y) { y = Attention(q, q, q) }"
    assert ("mask", "is_causal 0 -> 1") in every_change(graph(tmp_path / "g.onnx", text))
