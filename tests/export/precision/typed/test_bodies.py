"""If, Loop and Scan in a converted graph: their bodies as they were, and a cast wherever a half precision value meets them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from attn_export.precision.schemes import get
from attn_export.precision.typed.autocast import computes, convert_here, read_cast
from attn_export.precision.typed.bodies import has_bodies, reads, take_out
from attn_export.precision.typed.element_types import tensor_types
from onnx import TensorProto, numpy_helper

#: Bodies that read an activation, a weight of the graph around, a weight that nothing else reads, and an input of the graph;
#: one within another; results that are read on, and that are outputs of the graph.
GRAPHS = {
    "If": """
        h = MatMul(x, w)  s = ReduceSum<keepdims = 0>(x)  zero = Constant<value = float {0.0}>()  c = Greater(s, zero)
        d = Not(c)
        r, y2 = If(c) <
            then_branch = t () => (float[n, 4] t1, float[n, 4] t2) {
                t0 = MatMul(h, w)  t1 = If(d) <
                    then_branch = a () => (float[n, 4] a1) { a1 = Neg(t0) },
                    else_branch = b () => (float[n, 4] b1) { b1 = Add(t0, h) } >  t2 = Add(h, own) },
            else_branch = e () => (float[n, 4] e1, float[n, 4] e2) { e1 = Mul(h, x)  e2 = Identity(h) }>
        y = MatMul(r, w)""",
    "Loop": """
        h = MatMul(x, w)  three = Constant<value = int64 {3}>()  go = Constant<value = bool {1}>()
        r, y2 = Loop(three, go, h) <body = l (int64 i, bool g, float[n, 4] z) => (bool g2, float[n, 4] z2, float[n, 4] s) {
            g2 = Identity(g)  m = MatMul(z, w)  u = Tanh(m)  z2 = Add(u, h)  s = Add(u, own) }>
        q = Relu(r)  y = MatMul(q, w)""",
    "Scan": """
        h = MatMul(x, w)  start = Mul(own, own)
        r, k = Scan<num_scan_inputs = 1, body = s (float[4] z, float[4] e) => (float[4] z2, float[4] o) {
            m = Mul(z, own)  f = Add(m, e)  z2 = Tanh(f)  g = MatMul(z2, w)  o = Identity(g) }>(start, h)
        y2 = Neg(r)  y = MatMul(k, w)""",
}


def written(name: str, path: Path, opset: int = 22) -> onnx.ModelProto:
    second = {"If": "float[n, 4]", "Loop": "float[k, n, 4]", "Scan": "float[4]"}[name]
    model = onnx.parser.parse_model(
        f"""<ir_version: 10, opset_import: ["": {opset}]> g (float[n, 4] x) => (float[n, 4] y, {second} y2)
        {{ {GRAPHS[name]} }}"""
    )
    rng = np.random.default_rng(0)
    for weight, shape in (("w", (4, 4)), ("own", (4,))):
        model.graph.initializer.append(numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), weight))
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{number}"
    onnx.save(model, path)
    return model


def converted(source: Path, target: Path, kind: str, half_io: bool) -> onnx.ModelProto:
    scheme = get(kind)
    values: dict[str, Any] = {"type": scheme.type, "onnx_type": scheme.onnx_type, "max_finite": scheme.max_finite}
    convert_here(str(source), str(target), **values, fp32_nodes=[], saturate=[], half_io=half_io)
    return onnx.load(target)


def answers(model: onnx.ModelProto, x: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: list[np.ndarray[Any, Any]] = session.run(None, {"x": x})
    return found


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize(("kind", "half_io"), [("fp16", False), ("fp16", True), ("bf16", False)])
def test_bodies_stay_whole_and_what_they_meet_is_cast(tmp_path: Path, name: str, kind: str, half_io: bool) -> None:
    source = written(name, tmp_path / "m.onnx")
    typed = converted(tmp_path / "m.onnx", tmp_path / "t.onnx", kind, half_io)
    onnx.checker.check_model(typed, full_check=True)
    before = next(n for n in source.graph.node if has_bodies(n))
    after = next(n for n in typed.graph.node if has_bodies(n))
    types = tensor_types(typed)
    assert {types.element(n) for n in after.output} == {TensorProto.FLOAT} and after.name == before.name
    for body in types.bodies(after):
        assert not {get(kind).onnx_type} & set(body.elements()) - set(types.elements())
        assert [n.op_type for n in body.graph.node if computes(n)]
    # Around them is half precision, and of the arithmetic the bodies alone are not.
    assert read_cast(tmp_path / "t.onnx").in_fp32 == (before.name,)
    border = TensorProto.FLOAT16 if half_io else TensorProto.FLOAT
    assert {v.type.tensor_type.elem_type for v in (*typed.graph.input, *typed.graph.output)} == {border}
    assert [v.name for v in typed.graph.output] == ["y", "y2"]
    for seed, sign in ((1, 1.0), (2, -1.0)):
        x = sign * np.abs(np.random.default_rng(seed).standard_normal((3, 4))).astype(np.float32)
        emulated = answers(get(kind).emulate(typed), x)
        runs = [emulated] if kind == "bf16" else [emulated, answers(typed, x.astype(np.float16) if half_io else x)]
        for found in runs:
            for expected, got in zip(answers(source, x), found, strict=True):
                error = np.abs(expected - got.astype(np.float32)).max() / np.abs(expected).max()
                assert 0 < error < (5e-2 if kind == "bf16" else 1e-2)


def test_what_bodies_read_of_the_graph_around_is_found_at_any_depth(tmp_path: Path) -> None:
    model = written("If", tmp_path / "m.onnx")
    node = next(n for n in model.graph.node if has_bodies(n))
    assert reads(node) == ["c", "h", "w", "d", "own", "x"]
    held = take_out(model)
    assert held is not None and [n.name for n in held.nodes] == [node.name]
    # What it reads is made for it, and what it makes and others read comes from outside; y2 is nobody's here.
    assert [v.name for v in model.graph.output] == ["y", "c", "h", "d"]
    assert [v.name for v in model.graph.input] == ["x", "r"]
    onnx.checker.check_model(model, full_check=True)


def test_a_graph_whose_arithmetic_is_in_bodies_alone_is_no_half_precision_graph(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["": 22]> g (float[n, 4] x, bool c) => (float[n, 4] y) {
        y = If(c) <then_branch = t () => (float[n, 4] t1) { t1 = Neg(x) },
                   else_branch = e () => (float[n, 4] e1) { e1 = Exp(x) }> }"""
    )
    model.graph.node[0].name = "if"
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ValueError, match="all of its arithmetic is in the bodies"):
        converted(tmp_path / "m.onnx", tmp_path / "t.onnx", "fp16", False)


def test_a_body_of_an_opset_that_the_conversion_leaves_is_refused_where_it_would_mean_something_else(
    tmp_path: Path,
) -> None:
    written("If", tmp_path / "m.onnx", opset=18)
    # bfloat16 needs opset 22; the If within has changed since 18.
    with pytest.raises(
        ValueError, match=r"has opset 18, the conversion needs 22, and If in a body of If_\d has changed"
    ):
        converted(tmp_path / "m.onnx", tmp_path / "t.onnx", "bf16", False)
