"""Weights by name, by content, and how far they are apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from attn_export.difference import weights as module
from attn_export.difference.weights import weights
from onnx import TensorProto, helper, numpy_helper


def graph(path: Path, external: bool = False, **arrays: np.ndarray) -> Path:
    """A graph that has these weights, and does nothing with them."""
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in arrays.items()]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    made = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value],
                             [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])], tensors)  # fmt: skip
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(
        model,
        path,
        save_as_external_data=external,
        location=path.name + ".data" if external else None,
        size_threshold=0,
    )
    return path


X = np.linspace(-1, 2, 100, dtype=np.float32)


def test_the_same_in_the_graph_and_beside_it(tmp_path: Path) -> None:
    found = weights(graph(tmp_path / "a.onnx", w=X, b=X[:3]), graph(tmp_path / "b.onnx", external=True, w=X, b=X[:3]))
    assert (found.changes, found.same) == ((), 2)


@pytest.mark.parametrize("piece", [7, 1 << 20])
def test_how_far_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(module, "_PIECE", piece)
    other = X.copy()
    other[93] += 0.5
    found = weights(graph(tmp_path / "a.onnx", w=X, v=X, n=X), graph(tmp_path / "b.onnx", w=other, v=X, n=X * np.nan))
    assert [(change.what, change.relative) for change in found.changes] == [
        ("n", float("inf")), ("w", pytest.approx(0.25)),
    ]  # fmt: skip
    assert found.same == 1 and found.to_json()["differ"][0]["relative"] is None


def test_other_types_and_shapes(tmp_path: Path) -> None:
    a = graph(tmp_path / "a.onnx", half=X, shape=X, whole=np.arange(3), text=np.array(["a", "b"], object))
    b = graph(
        tmp_path / "b.onnx", half=X.astype(np.float16), shape=X[:, None], whole=np.arange(3),
        text=np.array(["a", "c"], object),
    )  # fmt: skip
    found = {change.what: change for change in weights(a, b).changes}
    assert set(found) == {"half", "shape", "text"} and weights(a, b).same == 1
    assert (found["half"].a, found["half"].b) == ("float[100]", "float16[100]")
    assert found["half"].relative is not None and 0 < found["half"].relative < 1e-3
    assert (found["shape"].note, found["text"].note) == ("another shape", "other texts")


def test_one_that_has_another_name_is_the_same(tmp_path: Path) -> None:
    a = graph(tmp_path / "a.onnx", val_1=X, val_2=X, gone=X + 1)
    b = graph(tmp_path / "b.onnx", val_7=X, new=X + 2)
    found = weights(a, b)
    assert [(c.what, c.a, c.b) for c in found.changes] == [
        ("val_2", "float[100]", None), ("gone", "float[100]", None), ("new", None, "float[100]"),
    ]  # fmt: skip
    assert found.same == 1
