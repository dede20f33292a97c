"""QuantizeLinear and DequantizeLinear in graphs of one type and of two, and what TensorRT-RTX builds of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
import pytest
from attn_export.precision.quantised.qdq import insert
from attn_export.precision.quantised.sites import find_sites
from attn_export.precision.quantised.writer import save
from attn_export.precision.typed.element_types import tensor_types
from attn_export.precision.typed.emulation import emulate
from attn_runtime.errors import PassError
from attn_runtime.trt import library
from attn_runtime.trt.builder import network
from attn_runtime.trt.layers import Layer
from onnx import TensorProto, helper, numpy_helper
from support.quantised.products import Array, Rounded, borders, drawn, model, node, off, ran, rounded, scheme

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
K, N = 64, 32
SCHEMES = ["int8", "fp8", "int8-weights", "int4-weights"]
#: Of max|answer|: one rounding of activations to each type, and what is left where only the weights are rounded, to float16.
LIMITS = {"int8": 1e-2, "fp8": 6e-2, "int8-weights": 2e-3, "int4-weights": 2e-3}
SCALE = {"int8": 2.0**-5, "fp8": 2.0**-6}
rtx = pytest.mark.skipif(library.why_unavailable("rtx") is not None, reason=str(library.why_unavailable("rtx")))


def scales(name: str, *tensors: str) -> dict[str, float]:
    return dict.fromkeys(tensors, SCALE[name]) if name in SCALE else {}


def cast(source: str, output: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [output], name=f"cast {output}", to=to)


def halves(graph: onnx.ModelProto, *in_fp32: str) -> onnx.ModelProto:
    """`graph` with float16 in the place of float32, but for the nodes that make one of `in_fp32`, between casts."""
    made = onnx.ModelProto()
    made.CopyFrom(graph)
    for value in (*made.graph.input, *made.graph.output):
        if value.type.tensor_type.elem_type == FLOAT:
            value.type.tensor_type.elem_type = HALF
    weights = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
    kept = {name for n in made.graph.node if n.output[0] in in_fp32 for name in n.input if name in weights}
    del made.graph.initializer[:]
    for name, value in weights.items():
        half = value.astype(np.float16) if value.dtype == np.float32 else value
        made.graph.initializer.append(numpy_helper.from_array(half, name))
        if name in kept:
            made.graph.initializer.append(numpy_helper.from_array(value, f"{name}_fp32"))
    nodes: list[onnx.NodeProto] = []
    for n in made.graph.node:
        if n.output[0] in in_fp32:
            for place, name in enumerate(n.input):
                if name in ("", "ids"):
                    continue
                if name not in kept:
                    nodes.append(cast(name, f"{name}_to_{n.output[0]}", FLOAT))
                n.input[place] = f"{name}_fp32" if name in kept else f"{name}_to_{n.output[0]}"
            name = n.output[0]
            n.output[0] = f"{name}_wide"
            nodes += [n, cast(f"{name}_wide", name, HALF)]
        else:
            nodes.append(n)
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    onnx.checker.check_model(made, full_check=True)
    return made


def inserted(
    graph: onnx.ModelProto, made: Rounded, by: Mapping[str, float], left: Sequence[str] = ()
) -> onnx.ModelProto:
    """Valid, of one type in every node, and with the borders that it had."""
    done = onnx.ModelProto()
    done.CopyFrom(graph)
    insert(done, [s for s in made.sites if s.node not in left], made.weights, by)
    onnx.checker.check_model(done, full_check=True)
    types = tensor_types(done)
    for one in done.graph.node:
        types.check(one)
    assert borders(done) == borders(graph)
    return done


def layers() -> onnx.ModelProto:
    """Every kind of product, one activation for two of them, and a table tied to the head behind a Transpose."""
    nodes = [
        node("Gather", ["table", "ids"], "e"), node("MatMul", ["e", "q"], "a"), node("Gemm", ["e", "k", "b"], "c", transB=1),
        node("Add", ["a", "c"], "s"), node("Relu", ["s"], "r"), node("Gemm", ["r", "o", "d"], "h"),
        node("Transpose", ["table"], "turned"), node("MatMul", ["h", "turned"], "y"),
    ]  # fmt: skip
    weights = {"table": drawn(40, K, seed=1), "q": drawn(K, K, seed=2) / 8, "k": drawn(K, K, seed=3) / 8,
               "b": drawn(K, seed=4), "o": drawn(K, K, seed=5) / 8, "d": drawn(K, seed=6)}  # fmt: skip
    return model(nodes, {"ids": ["B"]}, ["y"], weights)


def layers_by_hand(made: Rounded, ids: Array) -> Array:
    names = {s.node for s in made.sites}
    table = made.matrix("e").T if "node e" in names else drawn(40, K, seed=1)
    e = table[ids]
    r = np.maximum(e @ made.matrix("a") + e @ made.matrix("c") + drawn(K, seed=4), 0)
    return np.asarray((r @ made.matrix("h") + drawn(K, seed=6)) @ made.matrix("y"), np.float32)


@pytest.mark.parametrize("name", SCHEMES)
def test_a_graph_in_fp32_and_the_reference_of_onnx(name: str, tmp_path: Path) -> None:
    made = rounded(layers(), name, tmp_path)
    by = {t: 2 * v for t, v in scales(name, "e", "r", "h").items()}
    done = inserted(layers(), made, by)
    ids = np.int64([3, 0, 39, 7])
    wanted = layers_by_hand(made, ids)
    exact = {"int8-weights": 1e-5, "int4-weights": 1e-5}
    assert off(ran(done, False, ids=ids)["y"], wanted) <= exact.get(name, 3 * LIMITS[name])
    (other,) = onnx.reference.ReferenceEvaluator(done).run(None, {"ids": ids})
    assert off(ran(done, False, ids=ids)["y"], other) <= 1e-5
    kinds = [n.op_type for n in done.graph.node]
    readers = [site for site in made.sites if site.activation in by]
    assert kinds.count("QuantizeLinear") == len(readers) and "Transpose" not in kinds
    assert kinds.count("DequantizeLinear") == len(made.sites) + len(readers)


@pytest.mark.parametrize("in_fp32", [(), ("c",), ("h",), ("a", "c"), ("e",), ("y",)])
@pytest.mark.parametrize("name", SCHEMES)
def test_a_graph_in_float16_with_islands_in_fp32(name: str, in_fp32: tuple[str, ...], tmp_path: Path) -> None:
    """The scales are of the type that each node computes in, of a weight that two types share too."""
    made = rounded(layers(), name, tmp_path)
    by = {t: 2 * v for t, v in scales(name, "e", "r", "h").items()}
    done = inserted(halves(layers(), *in_fp32), made, by)
    types = tensor_types(done)
    at = {n.name: n for n in done.graph.node}
    for site in made.sites:
        wide = types.element(at[site.node].input[0 if site.operator == "Gather" else 1])
        assert wide == (FLOAT if site.node.removeprefix("node ") in in_fp32 else HALF), site.node
    ids = np.int64([3, 0, 39, 7])
    got = ran(emulate(done), ids=ids)["y"]
    assert off(got, layers_by_hand(made, ids)) <= 4 * LIMITS[name]


@pytest.mark.parametrize("name", SCHEMES)
def test_one_weight_that_a_node_in_float16_and_one_in_fp32_read(name: str, tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], "h"), node("MatMul", ["h", "w"], "y")]
    source = model(nodes, {"x": ["B", K]}, ["y"], {"w": drawn(K, K) / 8})
    made = rounded(source, name, tmp_path)
    for island in ("h", "y"):
        done = inserted(halves(source, island), made, {t: 2 * v for t, v in scales(name, "x", "h").items()})
        x = drawn(5, K, seed=9)
        assert off(ran(emulate(done), x=x)["y"], x @ made.matrix("h") @ made.matrix("y")) <= 4 * LIMITS[name]


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("rest", [FLOAT, HALF])
def test_an_activation_is_rounded_for_each_that_reads_it_whatever_the_order_of_sites(
    name: str, rest: int, tmp_path: Path
) -> None:
    """A pass may have put nodes in another order than they had when the sites were found."""
    weights = {w: drawn(K, N, seed=n) for n, w in enumerate("uvw")}
    nodes = [node("MatMul", ["x", w], o) for w, o in zip("uvw", ["a", "b", "y"], strict=True)]
    source = model(nodes, {"x": ["B", K]}, ["a", "b", "y"], weights)
    made = rounded(source, name, tmp_path)
    turned = model(nodes[::-1], {"x": ["B", K]}, ["a", "b", "y"], weights)
    done = inserted(turned if rest == FLOAT else halves(turned), made, scales(name, "x"))
    assert sum(n.op_type == "QuantizeLinear" for n in done.graph.node) == 3 * len(scales(name, "x"))
    x = drawn(5, K, seed=9)
    got = ran(emulate(done), x=x)
    assert all(off(got[o], x @ made.matrix(o)) <= LIMITS[name] for o in ("a", "b", "y"))


def test_a_scale_and_its_zero_point_are_scalars_and_the_scale_is_what_was_given(tmp_path: Path) -> None:
    source = model([node("MatMul", ["x", "w"], "y")], {"x": ["B", K]}, ["y"], {"w": drawn(K, N)})
    for name, kind in (("int8", TensorProto.INT8), ("fp8", TensorProto.FLOAT8E4M3FN)):
        for graph, dtype in ((source, np.float32), (halves(source), np.float16)):
            done = inserted(graph, rounded(source, name, tmp_path), {"x": 2.0**-5})
            (quantize,) = [n for n in done.graph.node if n.op_type == "QuantizeLinear"]
            stored = {t.name: t for t in done.graph.initializer}
            by, zero = stored[quantize.input[1]], stored[quantize.input[2]]
            assert not by.dims and not zero.dims and zero.data_type == kind
            value = numpy_helper.to_array(by)
            assert value.dtype == dtype and value == 2.0**-5 and not numpy_helper.to_array(zero).astype(np.float32)


def test_what_is_not_to_be_quantised_stays_and_a_site_that_the_graph_lost_is_passed_over(tmp_path: Path) -> None:
    made = rounded(layers(), "int8", tmp_path)
    done = inserted(layers(), made, scales("int8", "e", "r", "h"), ["node a", "node y"])
    assert {"q", "table"} <= {t.name for t in done.graph.initializer}
    short = model([node("MatMul", ["x", "q"], "a")], {"x": ["B", K]}, ["a"], {"q": drawn(K, K)})
    done = inserted(short, made, {"x": 1.0})
    assert [n.op_type for n in done.graph.node] == ["DequantizeLinear", "MatMul"], "x is not what the site read"


@pytest.mark.parametrize(
    ("name", "opset", "expected"),
    [
        ("int8", 13, 13),
        ("int8", 11, 13),
        ("int8-weights", 17, 17),
        ("fp8", 17, 19),
        ("int4-weights", 18, 21),
        ("int8", 22, 22),
    ],
)
def test_the_opset_is_raised_to_what_the_types_need(name: str, opset: int, expected: int, tmp_path: Path) -> None:
    source = model([node("MatMul", ["x", "w"], "y")], {"x": ["B", K]}, ["y"], {"w": drawn(K, N)}, opset)
    made = rounded(source, name, tmp_path)
    done = inserted(source, made, scales(name, "x"))
    assert done.opset_import[0].version == expected
    x = drawn(5, K, seed=3)
    assert off(ran(emulate(done), False, x=x)["y"], x @ made.matrix("y")) <= LIMITS[name]
    half = inserted(halves(source), made, scales(name, "x"))
    assert half.opset_import[0].version == max(expected, 19)


def test_a_graph_whose_opset_cannot_be_raised_is_refused(tmp_path: Path) -> None:
    nodes = [node("ReduceMean", ["x"], "m", axes=[1]), node("Sub", ["x", "m"], "c"), node("MatMul", ["c", "w"], "y")]
    source = model(nodes, {"x": ["B", K]}, ["y"], {"w": drawn(K, N)}, 17)
    for name, since in (("int4-weights", 21), ("fp8", 19)):
        made = rounded(source, name, tmp_path)
        with pytest.raises(
            PassError, match=rf"node node m \(ReduceMean\) of opset 17 .* export with --opset {since} or later"
        ):
            insert(onnx.load(made.source), made.sites, made.weights, {})
    with pytest.raises(PassError, match="ReduceMean"):
        made.written()
    assert not (tmp_path / "form.onnx").exists()
    rounded(source, "int4-weights", tmp_path).written()  # whose products are not ONNX's own


# --- TensorRT-RTX -------------------------------------------------------------------------------------------------


def built(graph: onnx.ModelProto, folder: Path, gpu: str = "8.9") -> network.Built:
    file = folder / "engine.onnx"
    save(graph, folder, file)
    shapes = {
        value.name: tuple(d.dim_value or 2 for d in value.type.tensor_type.shape.dim) for value in graph.graph.input
    }
    profile = {name: ((1, *rest), (first, *rest), (4, *rest)) for name, (first, *rest) in shapes.items()}
    made = network.build(library.load("rtx"), file, [profile], network.BuildOptions(capabilities=(gpu,)))
    assert made.plan is not None, (made.problems, made.errors)
    assert not made.misread
    return made


def reads(layers: Sequence[Layer]) -> set[str]:
    return {t.dtype for layer in layers for t in (*layer.inputs, *layer.constants)}


@rtx
@pytest.mark.parametrize("operator", ["MatMul", "Gemm", "Conv"])
@pytest.mark.parametrize(("name", "kind"), [("int8", "int8"), ("fp8", "float8")])
def test_products_of_narrow_activations_are_built(name: str, kind: str, operator: str, tmp_path: Path) -> None:
    attributes: Any = {"transB": 1} if operator == "Gemm" else {}
    shape, image = {"MatMul": (K, N), "Gemm": (N, K), "Conv": (N, 16, 3, 3)}[operator], {"Conv": (16, 8, 8)}
    inputs = ["x", "w"] if operator == "MatMul" else ["x", "w", "b"]
    weights = {"w": drawn(*shape), **({} if operator == "MatMul" else {"b": drawn(N)})}
    source = model(
        [node(operator, inputs, "y", **attributes)], {"x": ["B", *image.get(operator, (K,))]}, ["y"], weights
    )
    done = inserted(halves(source), rounded(source, name, tmp_path), {"x": 2.0**-5})
    assert any(kind in dtype for dtype in reads(built(done, tmp_path).layers)), reads(built(done, tmp_path).layers)


@rtx
@pytest.mark.parametrize("name", ["int8-weights", "int4-weights"])
@pytest.mark.parametrize("tied", [False, True])
def test_narrow_weights_are_built_and_smaller(name: str, tied: bool, tmp_path: Path) -> None:
    k, n = 512, 1024
    nodes = [node("Transpose", ["w"], "t")] * tied + [node("MatMul", ["x", "t" if tied else "w"], "y")]
    source = model(nodes, {"x": ["B", k]}, ["y"], {"w": drawn(n, k) if tied else drawn(k, n)})
    half = halves(source)
    done = inserted(half, rounded(source, name, tmp_path), {})
    plans = [built(graph, tmp_path).plan for graph in (half, done)]
    assert plans[0] and plans[1]
    share = {"int8-weights": 0.55, "int4-weights": 0.35}[name]
    assert len(plans[1]) < share * len(plans[0]), (len(plans[1]), len(plans[0]))


@rtx
def test_a_whole_graph_with_an_island_is_built(tmp_path: Path) -> None:
    names = [o for o in scheme("int8").operators if o != "Gather"]
    source = layers()
    assert len(find_sites(source, names)) == 4
    done = inserted(halves(source, "c"), rounded(source, "int8", tmp_path), scales("int8", "e", "r", "h"))
    assert any("int8" in dtype for dtype in reads(built(done, tmp_path).layers))
