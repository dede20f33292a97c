"""Joint products cut early: the same numbers, and a compiler that does not die."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from attn_export.onnx_graph import load
from attn_export.passes.early_split import rewrite
from attn_runtime.trt import library
from attn_runtime.trt.builder import network
from onnx import TensorProto
from support.tensorrt.misread_graphs import Nodes, one_group, one_token


def answers(path: Path, x: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(path).run(None, {"x": x})[0]  # type: ignore[no-any-return]


def test_the_numbers_stay(tmp_path: Path) -> None:
    source, target = one_token(tmp_path / "m.onnx"), tmp_path / "cut.onnx"
    model = load(source)
    assert rewrite(model) == ("node_split",)
    ir.save(model, target)
    onnx.checker.check_model(target, full_check=True)
    names = [node.op_type for node in onnx.load(target).graph.node]
    assert names.index("Slice") < names.index("Reshape")
    for batch in (1, 5):
        x = np.random.default_rng(batch).standard_normal((batch, 1, 32)).astype("f")
        assert (answers(source, x) == answers(target, x)).all()


def test_parts_that_are_gathered(tmp_path: Path) -> None:
    n, source, target = Nodes(), tmp_path / "m.onnx", tmp_path / "cut.onnx"
    n.weight("shape", [-1, 3, 2, 2, 4], np.int64)
    n.weight("first", 0, np.int64)
    n.weight("last", -1, np.int64)
    n.add("Reshape", ["x", "shape"], "split")
    n.add("Transpose", ["split"], "parts", perm=[2, 0, 3, 1, 4])
    n.add("Gather", ["parts", "first"], "q")
    n.add("Gather", ["parts", "last"], "k")
    n.add("Sub", ["q", "k"], "y")
    n.save(source, {"x": (TensorProto.FLOAT, ["B", 3, 16])}, ["B", 2, 3, 4])
    model = load(source)
    assert rewrite(model) == ("node_split",)
    ir.save(model, target)
    x = np.random.default_rng(1).standard_normal((2, 3, 16)).astype("f")
    assert (answers(source, x) == answers(target, x)).all()


def test_a_graph_without_joint_products_is_left(tmp_path: Path) -> None:
    assert rewrite(load(one_group(tmp_path / "m.onnx"))) == ()


@pytest.mark.skipif(library.why_unavailable("rtx") is not None, reason=str(library.why_unavailable("rtx")))
def test_tensorrt_dies_of_one_form_and_builds_the_other(tmp_path: Path) -> None:
    source, profile = one_token(tmp_path / "m.onnx"), {"x": ((1, 1, 32), (2, 1, 32), (16, 1, 32))}
    died = network.build(library.load("rtx"), source, [profile])
    assert died.plan is None and not died.problems and "kqv_gemm_split" in " ".join(died.errors)
    model = load(source)
    rewrite(model)
    ir.save(model, tmp_path / "cut.onnx")
    assert network.build(library.load("rtx"), tmp_path / "cut.onnx", [profile]).plan is not None
