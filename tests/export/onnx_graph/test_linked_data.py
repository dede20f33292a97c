"""Weights with a second hard link, which onnx does not read, are copied and read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from attn_export.onnx_graph.linked_data import with_own_data
from attn_runtime.errors import BundleError
from onnx import TensorProto, helper, numpy_helper


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """y = x @ w, w in a data file."""
    folder = tmp_path / "own"
    folder.mkdir()
    weights = [numpy_helper.from_array(np.ones((64, 64), np.float32), "w")]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", 64]) for name in "xy")
    made = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"], "dot")], "g", [x], [y], weights)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, folder / "g.onnx", save_as_external_data=True, location="g.data")
    return folder / "g.onnx"


def _copy(graph: Path) -> Path:
    folder = graph.parent.parent / "copy"
    folder.mkdir()
    return with_own_data(graph, folder)


def test_data_of_one_link_stays_where_it_is(graph: Path) -> None:
    assert _copy(graph) == graph


def test_data_of_two_links_is_copied(graph: Path) -> None:
    os.link(graph.with_name("g.data"), graph.with_name("snapshot"))
    with pytest.raises(onnx.checker.ValidationError, match="hard link"):
        onnx.load(graph)
    copy = _copy(graph)
    assert copy.name == graph.name and copy.parent.name == "copy"
    assert numpy_helper.to_array(onnx.load(copy).graph.initializer[0]).sum() == 64 * 64


def test_data_behind_a_link_inside_the_folder(graph: Path) -> None:
    graph.with_name("g.data").rename(graph.with_name("real"))
    os.link(graph.with_name("real"), graph.with_name("snapshot"))
    graph.with_name("g.data").symlink_to("real")
    assert len(onnx.load(_copy(graph)).graph.initializer[0].raw_data) == 64 * 64 * 4


def test_data_of_others_is_not_read(graph: Path) -> None:
    graph.with_name("g.data").rename(graph.parent.parent / "g.data")
    graph.with_name("g.data").symlink_to("../g.data")
    with pytest.raises(BundleError, match="outside its own folder"):
        _copy(graph)


def test_a_copy_that_can_t_be_made_is_told(graph: Path) -> None:
    os.link(graph.with_name("g.data"), graph.with_name("snapshot"))
    with pytest.raises(BundleError, match="has a second hard link.*TMPDIR"):
        with_own_data(graph, graph / "no folder")
