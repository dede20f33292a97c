"""RMSNorm that ONNX Runtime computes as one operator, in fp32 and in the quantised forms; its neighbours are left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from attn_export.passes.rms_norm import PASS, rewrite
from attn_export.precision.half.norms import statistics
from attn_runtime.child_process import ChildProcess
from onnx import TensorProto, numpy_helper
from support.checks.operators_in_session import operators_in_session
from support.checks.passes import rewritten
from support.quantised.products import Array, drawn, model, node, off, ran, rounded

WIDTH = 64
EPSILON = np.float32(1e-5)


def norm(
    exponent: float = 2.0, axis: int = -1, weighted: bool = True, by_weight: bool = False, lengths: int = 0
) -> onnx.ModelProto:
    """h [B, T, 64] as torch.rsqrt is exported, then a product. `by_weight`: it is not x that is divided.

    `lengths`: of T, each of which has a weight of its own.
    """
    nodes = [
        node("Pow", ["h", "exponent"], "squares"),
        node("ReduceMean", ["squares", "axes"], "mean"),
        node("Add", ["mean", "epsilon"], "sum"),
        node("Sqrt", ["sum"], "root"),
        node("Reciprocal", ["root"], "inverse"),
        node("Mul", ["weight" if by_weight else "h", "inverse"], "normed"),
        node("Mul", ["weight", "normed"], "n") if weighted else node("Relu", ["normed"], "n"),
        node("MatMul", ["n", "w"], "y"),
    ]
    weights = {
        "exponent": np.float32(exponent), "axes": np.array([axis]), "epsilon": EPSILON,
        "weight": drawn(*([lengths] if lengths else []), WIDTH, seed=2), "w": drawn(WIDTH, WIDTH, seed=1),
    }  # fmt: skip
    return model(nodes, {"h": ["B", "T", WIDTH]}, ["y"], weights)


def expected(h: Array, graph: onnx.ModelProto) -> Array:
    """In float64."""
    weights = {t.name: numpy_helper.to_array(t).astype(np.float64) for t in graph.graph.initializer}
    wide = h.astype(np.float64)
    normed = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + weights["epsilon"])
    return np.asarray((normed * weights["weight"]) @ weights["w"], np.float32)


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e3])
def test_the_numbers_stay(scale: float, tmp_path: Path) -> None:
    graph, path = norm(), tmp_path / "m.onnx"
    assert rewritten(graph, path, rewrite) == 1
    h = drawn(3, 5, WIDTH) * np.float32(scale)
    for optimizations in (True, False):
        assert off(ran(path, optimizations, h=h)["y"], expected(h, graph)) < 2e-6


def test_a_session_computes_it_as_one_operator(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(norm(), path)
    assert set(operators_in_session(path)) == {"Pow", "ReduceMean", "Add", "Sqrt", "Reciprocal", "Mul", "MatMul"}
    assert rewritten(norm(), path, rewrite) == 1
    assert operators_in_session(path) == {"SimplifiedLayerNormalization": 1, "MatMul": 1}


@pytest.mark.parametrize("precision", ["int8-dynamic", "int8-weights", "int4-weights"])
def test_in_the_quantised_forms_too(precision: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    rewritten(norm(), path, rewrite)
    form = rounded(path, precision, tmp_path).written()
    found = operators_in_session(form)
    assert found["SimplifiedLayerNormalization"] == 1 and not {"Pow", "Div", "Sqrt", "MatMul"} & set(found)


def test_in_half_precision_its_statistics_stay_in_fp32(tmp_path: Path) -> None:
    """What divides is among them, as what multiplied was; the weight is behind."""
    names = {f"node {n}" for n in ("squares", "mean", "sum", "root")}
    assert statistics(norm()) == names | {"node inverse", "node normed"}
    rewritten(norm(), tmp_path / "m.onnx", rewrite)
    changed = onnx.load(tmp_path / "m.onnx")
    (division,) = [n.name for n in changed.graph.node if n.op_type == "Div"]
    assert statistics(changed) == names | {division}


def test_a_reciprocal_that_others_read_stays_for_them(tmp_path: Path) -> None:
    graph, path = norm(), tmp_path / "m.onnx"
    graph.graph.output.append(onnx.helper.make_tensor_value_info("inverse", TensorProto.FLOAT, ["B", "T", 1]))
    assert rewritten(graph, path, rewrite) == 1
    h = drawn(2, 3, WIDTH)
    found = ran(path, h=h)
    assert off(found["y"], expected(h, graph)) < 2e-6
    assert off(found["inverse"], 1 / np.sqrt((h**2).mean(-1, keepdims=True) + EPSILON)) < 2e-6


@pytest.mark.parametrize(
    "graph", [norm(exponent=4.0), norm(axis=1), norm(weighted=False), norm(by_weight=True), norm(lengths=3)],
    ids=["fourth power", "another axis", "no weight", "x is not divided", "a weight for each place"],
)  # fmt: skip
def test_what_no_session_would_fuse_is_left(graph: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(graph, tmp_path / "m.onnx")
    with ChildProcess(60) as isolated:
        done = PASS.run(tmp_path / "m.onnx", tmp_path / "m.0.onnx", isolated)
    assert done.idle and done.path == tmp_path / "m.onnx" and not (tmp_path / "m.0.onnx").exists()
