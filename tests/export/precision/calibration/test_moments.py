"""Second moments of tensors of a real graph, in a real child process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from attn_export.precision.calibration import Samples, batches, second_moments
from attn_runtime.child_process import ChildProcess
from attn_runtime.errors import PassError, UsageError
from safetensors.numpy import load_file

#: h has rows of 12, as many as b * t; flipped has rows of t; masked has rows in which something is minus infinity.
GRAPH = onnx.parser.parse_model(
    """<ir_version: 10, opset_import: ["": 20]> g (float[b, t, 12] x) => (float[b, t, 12] y)
    <float two = {2.0}, float zero = {0.0}, float three = {3.0}, float lowest = {-1e30}>
    { h = Mul(x, two)  flipped = Transpose<perm = [0, 2, 1]>(x)  far = Less(three, h)  masked = Where(far, lowest, h)
      never = Sub(lowest, h)  total = ReduceSum<keepdims = 0>(h)  y = Add(h, zero) }"""
)
DRAWN = [np.random.default_rng(n).standard_normal((n, 7, 12), dtype=np.float32) for n in (1, 3, 2, 9)]


@pytest.fixture(scope="module")
def child() -> Iterator[ChildProcess]:
    with ChildProcess(120) as isolated:
        yield isolated


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    onnx.save(GRAPH, tmp_path / "g.onnx")
    return tmp_path / "g.onnx"


def moments(
    graph: Path, child: ChildProcess, *tensors: str, drawn: list[np.ndarray] = DRAWN
) -> dict[str, dict[str, np.ndarray]]:
    samples = Samples("somewhere", None, lambda: ((str(n), {"x": one}) for n, one in enumerate(drawn)))
    work = graph.parent / "work"
    work.mkdir()
    found = second_moments(graph, tensors, samples, child, work, lambda *_: None)
    assert sorted(work.iterdir()) == sorted(found.values())
    return {name: load_file(path) for name, path in found.items()}


def expected(rows: np.ndarray) -> np.ndarray:
    wide = rows.astype(np.float64)
    return wide.T @ wide / len(wide)


def test_they_are_the_mean_over_all_rows_of_all_samples(graph: Path, child: ChildProcess) -> None:
    found = moments(graph, child, "h", "x", "flipped")
    rows = np.concatenate([one.reshape(-1, 12) for one in DRAWN])
    turned = np.concatenate([one.transpose(0, 2, 1).reshape(-1, 7) for one in DRAWN])
    for name, of in (("h", 2 * rows), ("x", rows), ("flipped", turned)):
        wanted = expected(of)
        assert sorted(found[name]) == ["moments", "rows"] and found[name]["moments"].dtype == np.float32
        assert found[name]["rows"].tolist() == [len(of)]
        np.testing.assert_allclose(found[name]["moments"], wanted, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(found[name]["moments"], found[name]["moments"].T)


def test_rows_with_what_stands_for_infinity_are_left_out(graph: Path, child: ChildProcess) -> None:
    rows = 2 * np.concatenate([one.reshape(-1, 12) for one in DRAWN])
    kept = rows[(rows <= 3).all(1)]
    assert 0 < len(kept) < len(rows)
    found = moments(graph, child, "masked")["masked"]
    np.testing.assert_allclose(found["moments"], expected(kept), rtol=1e-5, atol=1e-6)
    assert found["rows"].tolist() == [len(kept)]


def test_batches_change_not_a_bit(
    graph: Path, child: ChildProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = DRAWN * 5
    whole = moments(graph, child, "h", "x", "y", drawn=drawn)
    monkeypatch.setattr(batches, "_MOST_SAMPLES", 1)
    (tmp_path / "again").mkdir()
    again = moments(graph.rename(tmp_path / "again" / "g.onnx"), child, "h", "x", "y", drawn=drawn)
    for name, found in whole.items():
        np.testing.assert_array_equal(found["moments"], again[name]["moments"])


def test_a_tensor_of_no_finite_row_is_named(graph: Path, child: ChildProcess) -> None:
    with pytest.raises(UsageError, match="tensor never: no row of it is finite in somewhere, .* with --calibrate"):
        moments(graph, child, "h", "never")


@pytest.mark.parametrize(
    ("tensor", "drawn", "says"),
    [
        ("total", DRAWN, "tensor total has no axes, expected"),
        ("flipped", [*DRAWN, np.ones((1, 3, 12), np.float32)], "tensor flipped ends in an axis of 3, and of 7 before"),
    ],
)
def test_a_tensor_without_one_last_axis_is_refused(
    tensor: str, drawn: list[np.ndarray], says: str, graph: Path, child: ChildProcess
) -> None:
    with pytest.raises(PassError, match=says):
        moments(graph, child, tensor, drawn=drawn)
