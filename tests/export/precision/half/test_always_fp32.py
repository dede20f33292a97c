"""What stays in fp32 whatever its range: control flow, indices, and what ONNX Runtime has no kernel for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from attn_export.precision.conversion import file_conversion, workshop
from attn_export.precision.half.always_fp32 import by_kind, without_kernel
from attn_export.precision.half.fp32_search import search, start
from attn_export.precision.schemes import get
from attn_runtime.bundle import write_tensors
from attn_runtime.child_process import ChildProcess
from attn_runtime.spec import Dim, TensorSpec


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChildProcess]:
    with workshop(60, get("fp16")) as (_, isolated):
        yield isolated


def parsed(text: str) -> onnx.ModelProto:
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 22]> {text}')
    for node in model.graph.node:
        node.name = f"n_{node.output[0]}"
    return model


def test_arithmetic_that_ends_in_indices_is_kept_and_what_else_is_read_is_not() -> None:
    """A bucket of relative positions, as T5 counts it; the distance is also an activation."""
    model = parsed("""g (int64[n] p, float[9, 4] table, float[n, 4] x) => (float[n, 4] y) {
        f = Cast<to = 1>(p)  d = Abs(f)  eight = Constant<value = float {8.0}>()  r = Div(d, eight)  l = Log(r)
        s = Mul(l, eight)  i = Cast<to = 7>(s)  b = Gather(table, i)  t = Tanh(d)
        axes = Constant<value = int64[1] {1}>()  u = Unsqueeze(t, axes)  v = Add(b, u)  y = Mul(v, x) }""")
    assert set(by_kind(model)) == {"n_r", "n_l", "n_s"}
    assert set(by_kind(model).values()) == {"its numbers become indices"}


def test_a_network_whose_answers_are_integers_is_no_index() -> None:
    model = parsed("""g (float[n, 4] x, float[4, 4] w) => (int64[n, 4] y) {
        h = MatMul(x, w)  r = Round(h)  y = Cast<to = 7>(r) }""")
    assert set(by_kind(model)) == {"n_r"}


def test_a_node_with_bodies_is_kept_and_what_they_read_is_no_index() -> None:
    model = parsed("""g (float[n] x, bool c) => (float[n] y, int64[n] j) {
        a = Abs(x)  j = Cast<to = 7>(a)
        y = If(c) <then_branch = t () => (float[n] u) { u = Neg(a) }, else_branch = e () => (float[n] v) { v = Exp(a) }> }""")
    assert by_kind(model) == {"n_y": "the bodies of If stay whole"}


ADDED = """g (float[n, 4] x, int64[n, 1] where) => (float[8, 4] y) {
    h = Exp(x)  grid = Constant<value = float[8, 4] {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                                     0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}>()
    s = ScatterND<reduction = "add">(grid, where, h)  o = ScatterND(s, where, h)
    t = ScatterND<reduction = "add">(o, where, h)  m = ScatterND<reduction = "max">(t, where, h)  y = Neg(m) }"""


@pytest.mark.parametrize("half_io", [False, True])
def test_what_has_no_kernel_stays_in_fp32_and_its_neighbours_do_not(
    shop: ChildProcess, tmp_path: Path, half_io: bool
) -> None:
    rows = Dim("n", 1, 2, 3)
    specs = (
        TensorSpec("x", "float32", (rows, Dim.fixed(4))),
        TensorSpec("where", "int64", (rows, Dim.fixed(1)), high=8),
    )
    onnx.save(parsed(ADDED), tmp_path / "m.onnx")
    it = file_conversion(tmp_path / "m.onnx", get("fp16"), half_io, None, specs, tmp_path, shop)
    result = search(it, start(it))
    assert result.passed and set(result.best.cast.in_fp32) == {"n_s", "n_t", "n_m"}
    assert it.why_always("n_s") == it.why_always("n_t") == "no half precision kernel for ScatterND reduction=add"
    assert it.why_always("n_m") == "no half precision kernel for ScatterND reduction=max"
    assert it.why_always("n_o") is None


def test_what_fails_for_another_reason_keeps_nothing(shop: ChildProcess, tmp_path: Path) -> None:
    model = parsed("g (float16[n, 4] x) => (float16[n, 4] y) { y = Exp(x) }")
    onnx.save(model, tmp_path / "m.onnx")
    write_tensors(tmp_path / "in.safetensors", {"x": np.zeros((2, 4), np.float16)})
    write_tensors(tmp_path / "bad.safetensors", {"x": np.zeros((2, 3), np.float16)})
    for name in ("in", "bad"):
        assert without_kernel(tmp_path / "m.onnx", tmp_path / f"{name}.safetensors", {}, False, False, shop) == {}
