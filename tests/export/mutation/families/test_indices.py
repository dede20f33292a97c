"""Slices, indices and positions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.graphs.mutated import changed, every_change, graph

X = np.arange(10, dtype=np.float32).reshape(2, 5)
SLICE = "(float[B, 5] x) => (float[B, N] y) { y = Slice(x, s, e, a) }"


@pytest.mark.parametrize(
    ("end", "what", "expected"),
    [
        (4, "start [1] -> [2]", X[:, 2:4]),
        (4, "end [4] -> [3]", X[:, 1:3]),
        (4, "end [4] -> [5]", X[:, 1:5]),
        (2**62, "last element left out", X[:, 1:-1]),
    ],
)
def test_a_slice(tmp_path: Path, end: int, what: str, expected: np.ndarray) -> None:
    file = graph(tmp_path / "g.onnx", SLICE, {"s": np.array([1]), "e": np.array([end]), "a": np.array([1])})
    np.testing.assert_array_equal(changed(file, what, "slice", x=X), expected)


def test_an_end_that_is_computed(tmp_path: Path) -> None:
    text = "(float[B, 5] x, int64[1] e) => (float[B, N] y) { y = Slice(x, s, e, a) }"
    file = graph(tmp_path / "g.onnx", text, {"s": np.array([0]), "a": np.array([1])})
    np.testing.assert_array_equal(changed(file, "end one less", x=X, e=np.array([3])), X[:, :2])


def test_an_index(tmp_path: Path) -> None:
    text = "(float[B, 5] x) => (float[B] y) { y = Gather<axis = 1>(x, i) }"
    file = graph(tmp_path / "g.onnx", text, {"i": np.array(2)})
    np.testing.assert_array_equal(changed(file, "index 2 -> 3", "index", x=X), X[:, 3])
    np.testing.assert_array_equal(changed(file, "index 2 -> 1", "index", x=X), X[:, 1])


def test_positions_of_an_embedding(tmp_path: Path) -> None:
    table = np.arange(8, dtype=np.float32).reshape(4, 2)
    file = graph(tmp_path / "g.onnx", "(int64[T] i) => (float[T, 2] y) { y = Gather(w, i) }", {"w": table})
    found = changed(file, "every index one less", "position", i=np.array([0, 1, 3]))
    np.testing.assert_array_equal(found, table[[0, 0, 2]])


@pytest.mark.parametrize(("what", "expected"), [("begins one later", [1, 2, 3]), ("twice the step", [0, 2, 4])])
def test_a_range(tmp_path: Path, what: str, expected: list[int]) -> None:
    text = "(int64 n) => (int64[N] y) { y = Range(z, n, d) }"
    file = graph(tmp_path / "g.onnx", text, {"z": np.array(0), "d": np.array(1)})
    found = changed(file, what, "position", n=np.array(3))
    assert found.tolist() == expected if "later" in what else found.tolist()[:2] == expected[:2]


def test_parts_the_other_way_round(tmp_path: Path) -> None:
    text = "(float[B, 4] x) => (float[B, 2] y) { a, b = Split<axis = 1, num_outputs = 2>(x) y = Sub(a, b) }"
    file = graph(tmp_path / "g.onnx", text)
    np.testing.assert_array_equal(changed(file, "first two parts swapped", x=X[:, :4]), [[2, 2], [2, 2]])


def test_a_concat_the_other_way_round(tmp_path: Path) -> None:
    file = graph(
        tmp_path / "g.onnx", "(float[B, 2] a, float[B, 2] b) => (float[B, 4] y) { y = Concat<axis = 1>(a, b) }"
    )
    a, b = X[:, :2], X[:, 2:4]
    np.testing.assert_array_equal(changed(file, "parts of Concat swapped", a=a, b=b), np.concatenate([b, a], 1))


def test_a_convolution_that_looks_one_to_the_side(tmp_path: Path) -> None:
    text = "(float[1, 1, N] x) => (float[1, 1, N] y) { y = Conv<pads = [1, 1], kernel_shape = [3]>(x, w) }"
    file = graph(tmp_path / "g.onnx", text, {"w": np.array([[[0, 1, 0]]], np.float32)})
    x = X[:1, None]
    np.testing.assert_array_equal(changed(file, "one to the left", x=x), [[[0, 0, 1, 2, 3]]])
    assert ("slice", "padding [1, 1] one to the left") in every_change(file)
