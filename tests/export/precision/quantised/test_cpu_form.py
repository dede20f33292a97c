"""The file that ONNX Runtime runs: valid, the same borders, and the numbers that the rounded weights stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from attn_export.precision.quantised import writer as room
from attn_export.precision.quantised.cpu_form import fits_cpu_form
from attn_export.precision.quantised.sites import Site
from attn_runtime.ort import cpu_options, make_session
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from support.quantised.products import SATURATES, Array, Rounded, borders, drawn, model, node, off, ran, rounded, scheme

WEIGHTS = ["int8-weights", "int4-weights"]
STATIC = ["int8", "fp8"]
#: Of max|answer|. A product whose activations a kernel rounds too is off by up to half a 127th of each of them.
EXACT, ROUNDED = 2e-6, 2e-2
K, N = 64, 48


def product(operator: str = "MatMul", k: int = K, n: int = N, **attributes: Any) -> onnx.ModelProto:
    shape = (n, k) if attributes.get("transB") else (k, n)
    bias = {"b": drawn(n, seed=2)} if operator == "Gemm" else {}
    return model([node(operator, ["x", "w", *bias], "y", **attributes)], {"x": ["B", k]}, ["y"],
                 {"w": drawn(*shape, seed=1), **bias})  # fmt: skip


def answers(made: Rounded, form: Path, limit: float, expected: Any, **feeds: Array) -> None:
    """Valid, with the borders of the source, and within `limit` of `expected` at any optimization that is exact here."""
    written, source = onnx.load(form), onnx.load(made.source, load_external_data=False)
    onnx.checker.check_model(form, full_check="com.microsoft" not in {o.domain for o in written.opset_import})
    assert borders(written) == borders(source)
    saturated = SATURATES and any(n.op_type == "MatMulInteger" for n in written.graph.node)
    for optimizations in (True,) if saturated else (True, False):
        got = ran(form, optimizations, **feeds)
        for name, value in expected.items():
            assert off(got[name], np.asarray(value, np.float32)) <= limit, (name, optimizations)


def operators(form: Path) -> list[str]:
    return [n.op_type for n in onnx.load(form).graph.node]


def uint8(x: Array) -> Array:
    """As DynamicQuantizeLinear rounds it."""
    low, high = min(0.0, float(x.min())), max(0.0, float(x.max()))
    scale = np.float32((high - low) / 255)
    zero = np.clip(np.rint(-low / scale), 0, 255)
    return np.asarray((np.clip(np.rint(x / scale) + zero, 0, 255) - zero) * scale, np.float32)


def int8(x: Array, scale: float) -> Array:
    return np.asarray(np.clip(np.rint(x / np.float32(scale)), -128, 127) * np.float32(scale), np.float32)


# --- weights alone ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "k", "block"),
    [
        *(("int8-weights", k, None) for k in (16, 48, 64, 100, 128, 200, 31)),
        *(("int4-weights", 256, block) for block in (16, 32, 64, 128, 256)), ("int4-weights", 32, 32), ("int4-weights", 96, 32),
    ],
)  # fmt: skip
@pytest.mark.parametrize("operator", ["MatMul", "Gemm"])
def test_weights_alone_of_any_size(name: str, k: int, block: int | None, operator: str, tmp_path: Path) -> None:
    made = rounded(product(operator, k, 72), name, tmp_path, block)
    x = drawn(5, k, seed=3)
    form = made.written()
    assert operators(form) == ["MatMulNBits", "Add"][: 1 + (operator == "Gemm")]
    bias = drawn(72, seed=2) if operator == "Gemm" else 0
    answers(made, form, ROUNDED, {"y": x @ made.matrix("y") + bias}, x=x)


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_file_holds_exactly_the_numbers_that_were_rounded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the rounding of activations, which the kernel may leave out by the file's own word."""
    made = rounded(product(k=96), name, tmp_path)
    monkeypatch.setattr("attn_export.precision.quantised.cpu_form.ACCURACY_LEVEL", 1)
    answers(made, made.written(), EXACT, {"y": np.eye(96, dtype=np.float32) @ made.matrix("y")},
            x=np.eye(96, dtype=np.float32))  # fmt: skip


@settings(max_examples=12, deadline=None)
@given(k=st.integers(1, 150), n=st.integers(8, 80), rows=st.integers(1, 9))
def test_sizes_that_nothing_divides(tmp_path_factory: pytest.TempPathFactory, k: int, n: int, rows: int) -> None:
    k = max(k, -(-1024 // n))
    made = rounded(product(k=k, n=n), "int8-weights", tmp_path_factory.mktemp("sizes"))
    x = drawn(rows, k, seed=3)
    answers(made, made.written(), ROUNDED, {"y": x @ made.matrix("y")}, x=x)


@pytest.mark.parametrize(
    ("site", "name", "fits"),
    [
        (("Gather", 64), "int8-weights", True), (("Gather", 48), "int8-weights", True), (("Gather", 100), "int8-weights", False),
        (("MatMul", 100), "int8-weights", True), (("Gather", 48), "int4-weights", False), (("Gather", 96), "int4-weights", True),
    ],
)  # fmt: skip
def test_rows_of_a_table_are_whole_blocks(site: tuple[str, int], name: str, fits: bool) -> None:
    operator, k = site
    assert fits_cpu_form(Site("n", operator, "w", True, "", (50, k), k, 50), scheme(name)) == fits


@pytest.mark.parametrize(("name", "block"), [*((w, None) for w in WEIGHTS), ("int4-weights", 16), ("int4-weights", 64)])
@pytest.mark.parametrize("shape", [(), (3,), (2, 2), (0,), (2, 0)])
def test_a_table_is_looked_up_in_exactly_negative_rows_too(
    name: str, block: int | None, shape: tuple[int, ...], tmp_path: Path
) -> None:
    nodes = [node("Gather", ["w", "ids"], "y")]
    made = rounded(model(nodes, {"ids": shape}, ["y"], {"w": drawn(40, K, seed=1)}), name, tmp_path, block)
    ids = np.resize(np.int64([3, -1, 0, -40, 39]), shape)
    form = made.written()
    assert operators(form) == ["GatherBlockQuantized"]
    answers(made, form, EXACT, {"y": made.matrix("y").T[ids]}, ids=ids)


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("head", ["Transpose", "Gemm"])
def test_a_head_tied_to_its_table(name: str, head: str, tmp_path: Path) -> None:
    nodes = [node("Gather", ["w", "ids"], "rows")]
    if head == "Transpose":
        nodes += [node("Transpose", ["w"], "turned"), node("MatMul", ["rows", "turned"], "y")]
    else:
        nodes += [node("Gemm", ["rows", "w"], "y", transB=1)]
    made = rounded(model(nodes, {"ids": ["B"]}, ["y", "rows"], {"w": drawn(40, K, seed=1)}), name, tmp_path)
    ids = np.int64([3, 0, 39])
    table = made.matrix("rows").T
    both, one = made.written(), made.written(["rows"], name="one.onnx")
    assert sorted(operators(both)) == ["GatherBlockQuantized", "MatMulNBits"]
    answers(made, both, ROUNDED, {"rows": table[ids], "y": table[ids] @ table.T}, ids=ids)
    exact = drawn(40, K, seed=1)[ids]
    answers(made, one, ROUNDED, {"rows": exact, "y": exact @ table.T}, ids=ids)


# --- whatever is quantised ----------------------------------------------------------------------------------------

EVERY = [*WEIGHTS, "int8-dynamic", *STATIC]
SCALES = {"x": 2.0**-5}


def limit(name: str) -> float:
    """Of a form with the scales `SCALES`, against products of the rounded weights."""
    return {"fp8": 8e-2}.get(name, ROUNDED)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("attributes", [{}, {"transB": 1}])
@pytest.mark.parametrize("bias", [None, (N,), (1, N), (1,), (), (5, N), (5, 1)])
def test_a_gemm_with_any_bias(name: str, attributes: Any, bias: tuple[int, ...] | None, tmp_path: Path) -> None:
    graph = product("Gemm", **attributes)
    value = np.zeros(1, np.float32) if bias is None else drawn(*bias, seed=2)
    del graph.graph.node[0].input[2 if bias is None else 3 :], graph.graph.initializer[1]
    if bias is not None:
        graph.graph.initializer.append(onnx.numpy_helper.from_array(value, "b"))
    made = rounded(graph, name, tmp_path)
    x = drawn(5, K, seed=3)
    answers(made, made.written(scales=SCALES), limit(name), {"y": x @ made.matrix("y") + value}, x=x)


@pytest.mark.parametrize("name", EVERY)
def test_what_is_left_is_what_it_was_and_the_rest_keeps_its_names(name: str, tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], "inner"), node("Add", ["inner", "b"], "h"), node("MatMul", ["h", "v"], "y")]
    weights = {"w": drawn(K, K, seed=1) / 8, "b": drawn(K, seed=2), "v": drawn(K, N, seed=3) / 8}
    source = model(nodes, {"x": ["B", K]}, ["y", "inner"], weights)
    made = rounded(source, name, tmp_path)
    x, scales = drawn(5, K, seed=4), {"x": 2.0**-5, "h": 2.0**-5}
    nothing = made.written(["inner", "y"], scales, "none.onnx")
    answers(made, nothing, 0.0, ran(source, x=x), x=x)
    assert onnx.load(nothing).opset_import == source.opset_import
    form = made.written(["inner"], scales)
    written = onnx.load(form).graph
    assert {"w", "b"} == {t.name for t in written.initializer} & set(weights)
    h = x @ weights["w"] + weights["b"]
    answers(made, form, limit(name), {"inner": x @ weights["w"], "y": h @ made.matrix("y")}, x=x)
    both = made.written((), scales, "both.onnx")
    h = x @ made.matrix("inner") + weights["b"]
    answers(made, both, 2 * limit(name), {"inner": h - weights["b"], "y": h @ made.matrix("y")}, x=x)
    modules = {
        p.value for n in onnx.load(both).graph.node if n.name in {"node inner", "node y"} for p in n.metadata_props
    }
    assert modules == {"['', 'layers.inner']", "['', 'layers.y']"}


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("shape", [(0, 7, K), (2, 0, K), (2, 3, K), (K,)])
def test_rows_of_any_number_none_and_one_without_an_axis_too(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    axes = [f"d{n}" for n in range(len(shape) - 1)]
    graph = model([node("MatMul", ["x", "w"], "y")], {"x": [*axes, K]}, ["y"], {"w": drawn(K, N, seed=1)})
    made = rounded(graph, name, tmp_path)
    x = drawn(*shape, seed=3)
    answers(made, made.written(scales=SCALES), limit(name), {"y": x @ made.matrix("y")}, x=x)


@pytest.mark.parametrize("name", EVERY)
def test_one_weight_that_two_products_share_lies_once(name: str, tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], "h"), node("MatMul", ["h", "w"], "y")]
    made = rounded(model(nodes, {"x": ["B", K]}, ["y", "h"], {"w": drawn(K, K, seed=1) / 8}), name, tmp_path)
    form = made.written(scales={"x": 2.0**-5, "h": 2.0**-4})
    large = [t for t in onnx.load(form).graph.initializer if np.prod(t.dims) >= K * K // 2]
    assert len(large) == 1
    if SATURATES and name in ("int8", "int8-dynamic"):
        pytest.skip(
            "int8 products saturate on this CPU, and ONNX Runtime can't make a weight unsigned that two of them share"
        )
    x = drawn(5, K, seed=3)
    h = x @ made.matrix("h")
    answers(made, form, 2 * limit(name), {"h": h, "y": h @ made.matrix("y")}, x=x)


@pytest.mark.parametrize("name", EVERY)
def test_one_weight_as_it_is_stored_and_turned_has_the_numbers_of_each(name: str, tmp_path: Path) -> None:
    nodes = [node("Gemm", ["x", "w"], "h"), node("Gemm", ["h", "w"], "y", transB=1)]
    # Rows and columns of very different size, so that scales of one are not those of the other.
    w = drawn(K, K, seed=1) / 8 * np.float32(2) ** np.linspace(-3, 3, K, dtype=np.float32)[:, None]
    made = rounded(model(nodes, {"x": ["B", K]}, ["y", "h"], {"w": w}), name, tmp_path)
    x = drawn(5, K, seed=3)
    h = x @ made.matrix("h")
    scales = {"x": 2.0**-5, "h": float(np.abs(h).max() / 120)}
    answers(made, made.written(scales=scales), 2 * limit(name), {"h": h, "y": h @ made.matrix("y")}, x=x)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("behind", ["Transpose", "Identity", "Gemm", "Gemm transB"])
def test_a_weight_behind_a_transpose_or_an_identity(name: str, behind: str, tmp_path: Path) -> None:
    turns, reads_nk = behind != "Identity", behind == "Gemm transB"
    operator, attributes = behind.split()[0] if "Gemm" in behind else "MatMul", {"transB": 1} if reads_nk else {}
    before = node("Transpose" if turns else "Identity", ["w"], "t")
    nodes = [before, node(operator, ["x", "t"], "y", **attributes)]
    shape = (N, K) if turns != reads_nk else (K, N)
    made = rounded(model(nodes, {"x": ["B", K]}, ["y"], {"w": drawn(*shape, seed=1)}), name, tmp_path)
    form = made.written(scales=SCALES)
    assert not {"Transpose", "Identity"} & set(operators(form))
    x = drawn(5, K, seed=3)
    answers(made, form, limit(name), {"y": x @ made.matrix("y")}, x=x)


@pytest.mark.parametrize("name", EVERY)
def test_a_weight_that_a_body_reads_stays_for_it(name: str, tmp_path: Path) -> None:
    inner = helper.make_graph([node("MatMul", ["x", "w"], "inner")], "b", [],
                              [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)])  # fmt: skip
    nodes = [node("MatMul", ["x", "w"], "y"), node("If", ["is"], "z", then_branch=inner, else_branch=inner)]
    graph = model(nodes, {"x": ["B", K]}, ["y", "z"], {"w": drawn(K, N, seed=1), "is": np.array(True)})
    made = rounded(graph, name, tmp_path)
    x = drawn(5, K, seed=3)
    got = ran(made.written(scales=SCALES), x=x)
    assert off(got["z"], x @ drawn(K, N, seed=1)) <= EXACT
    assert off(got["y"], x @ made.matrix("y")) <= limit(name) and off(got["y"], got["z"]) > 1e-4


@pytest.mark.parametrize("name", [*WEIGHTS, "int8-dynamic"])
def test_a_graph_that_was_quantised_in_part_is_quantised_further(name: str, tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], "a"), node("MatMul", ["x", "v"], "b")]
    weights = {"w": drawn(K, N, seed=1), "v": drawn(K, N, seed=2)}
    first = rounded(model(nodes, {"x": ["B", K]}, ["a", "b"], weights), name, tmp_path)
    second = rounded(first.written(["b"], name="half.onnx"), name, tmp_path)
    assert [s.weight for s in second.sites] == ["v"]
    x = drawn(5, K, seed=3)
    form = second.written(name="whole.onnx")
    assert "MatMul" not in operators(form)
    answers(second, form, ROUNDED, {"a": x @ first.matrix("a"), "b": x @ first.matrix("b")}, x=x)


@pytest.mark.parametrize("name", EVERY)
def test_weights_in_a_file_beside_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, folder = product("Gemm"), tmp_path / "elsewhere"
    folder.mkdir()
    onnx.save(graph, folder / "m.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    made = rounded(folder / "m.onnx", name, tmp_path)
    monkeypatch.setattr(room, "EXTERNAL_FROM_BYTES", 1)
    form = made.written(scales=SCALES)
    assert form.with_name("form.onnx.data").exists() and form.stat().st_size < 4000
    x = drawn(5, K, seed=3)
    answers(made, form, limit(name), {"y": x @ made.matrix("y") + drawn(N, seed=2)}, x=x)


@pytest.mark.parametrize("opset", [13, 18, 21, 23])
@pytest.mark.parametrize("name", EVERY)
def test_a_graph_of_any_opset(name: str, opset: int, tmp_path: Path) -> None:
    graph = model([node("MatMul", ["x", "w"], "y")], {"x": ["B", K]}, ["y"], {"w": drawn(K, N, seed=1)}, opset)
    made = rounded(graph, name, tmp_path)
    x = drawn(5, K, seed=3)
    answers(made, made.written(scales=SCALES), limit(name), {"y": x @ made.matrix("y")}, x=x)


# --- activations too ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operator", ["MatMul", "Gemm"])
@pytest.mark.parametrize("shift", [0.0, 7.0])
def test_dynamic_activations_are_rounded_by_the_range_of_the_call(operator: str, shift: float, tmp_path: Path) -> None:
    made = rounded(product(operator), "int8-dynamic", tmp_path)
    for size in (0.01, 1.0, 100.0):
        x = (drawn(5, K, seed=3) + np.float32(shift)) * np.float32(size)
        bias = drawn(N, seed=2) if operator == "Gemm" else np.float32(0)
        answers(made, made.written(), EXACT, {"y": uint8(x) @ made.matrix("y") + bias}, x=x)


def fused(form: Path, folder: Path) -> list[str]:
    """The operators that ONNX Runtime makes of the file."""
    options = cpu_options()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    make_session(form, options)
    return [n.op_type for n in onnx.load(folder / "optimized.onnx").graph.node]


@pytest.mark.parametrize("name", ["int8-dynamic", "int8", "fp8"])
def test_three_products_read_one_activation(name: str, tmp_path: Path) -> None:
    """Rounded by its range once; by a stored scale for each, which is what ONNX Runtime fuses."""
    nodes = [node("MatMul", ["x", w], o) for w, o in (("u", "q"), ("v", "k"), ("w", "y"))]
    graph = model(nodes, {"x": ["B", K]}, ["q", "k", "y"], {n: drawn(K, N, seed=i) for i, n in enumerate("uvw")})
    made = rounded(graph, name, tmp_path)
    x = drawn(5, K, seed=3)
    for left in ([], ["q"]):
        form = made.written(left, SCALES)
        rounded_there = sum(n in ("DynamicQuantizeLinear", "QuantizeLinear", "Div") for n in operators(form))
        assert rounded_there == (1 if name == "int8-dynamic" else 3 - len(left))
        if name == "int8":
            assert fused(form, tmp_path).count("MatMulIntegerToFloat") == 3 - len(left)
        exact = {"q": x @ drawn(K, N, seed=0)} if left else {"q": x @ made.matrix("q")}
        answers(made, form, limit(name), {**exact, "k": x @ made.matrix("k"), "y": x @ made.matrix("y")}, x=x)


def test_static_activations_are_rounded_by_the_scale_that_was_given(tmp_path: Path) -> None:
    made = rounded(product("Gemm"), "int8", tmp_path)
    x = drawn(5, K, seed=3)
    for scale in (2.0**-4, 2.0**-6):  # the second clips what is beyond 2
        expected = int8(x, scale) @ made.matrix("y") + drawn(N, seed=2)
        answers(made, made.written(scales={"x": scale}), EXACT, {"y": expected}, x=x)


@pytest.mark.parametrize("name", STATIC)
@pytest.mark.parametrize(
    ("image", "shape", "attributes"),
    [
        ((2, 16, 9), (32, 16, 3), {}), ((2, 16, 9, 9), (32, 16, 3, 3), {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
        ((2, 16, 4, 4, 4), (32, 16, 2, 2, 2), {}), ((2, 16, 9, 9), (32, 8, 3, 3), {"group": 2}),
        ((2, 128, 9, 9), (128, 1, 3, 3), {"group": 128}),
    ],
)  # fmt: skip
def test_convolutions(name: str, image: Any, shape: tuple[int, ...], attributes: Any, tmp_path: Path) -> None:
    weights = {"w": drawn(*shape, seed=1), "b": drawn(shape[0], seed=2)}
    source = model([node("Conv", ["x", "w", "b"], "y", **attributes)], {"x": ["B", *image[1:]]}, ["y"], weights)
    made = rounded(source, name, tmp_path)
    x = drawn(*image, seed=3)
    numbers = made.matrix("y").T.reshape(shape)
    given = int8(x, SCALES["x"]) if name == "int8" else x
    twin = model([*source.graph.node], {"x": ["B", *image[1:]]}, ["y"], {**weights, "w": numbers})
    answers(made, made.written(scales=SCALES), EXACT if name == "int8" else limit(name), ran(twin, x=given), x=x)
