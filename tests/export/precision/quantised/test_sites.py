"""What of a graph can be quantised, and how each weight is seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from attn_export.precision.quantised.sites import LEAST_ELEMENTS, Site, find_sites
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from support.quantised.products import drawn, model, node

ALL = ("MatMul", "Gemm", "Conv", "Gather")
K, N = 48, 32


def found(nodes: list[onnx.NodeProto], weights: dict[str, Any], x: Any = ("B", K), opset: int = 22, **more: Any) -> Any:
    """(operator, weight, stored [N, K], K, N) of each site."""
    made = model(nodes, {"x": x}, [nodes[-1].output[0]], weights, opset, **more)
    return [(s.operator, s.weight, s.stored_nk, s.k, s.n) for s in find_sites(made, ALL)]


@pytest.mark.parametrize("opset", [13, 17, 18, 21, 22, 23])
def test_a_product_with_a_weight_behind_it(opset: int) -> None:
    assert found([node("MatMul", ["x", "w"], "y")], {"w": drawn(K, N)}, opset=opset) == [("MatMul", "w", False, K, N)]


def test_a_site_tells_its_node_its_activation_and_the_shape_as_stored() -> None:
    made = model(
        [node("Relu", ["x"], "r"), node("Gemm", ["r", "w", "b"], "y", transB=1)], {"x": ["B", K]}, ["y"],
        {"w": drawn(N, K), "b": drawn(N)},
    )  # fmt: skip
    (site,) = find_sites(made, ["Gemm"])
    assert site == Site("node y", "Gemm", "w", True, "r", (N, K), K, N)
    assert site.elements == K * N and Site.from_json(site.to_json()) == site
    assert find_sites(made, ["MatMul", "Conv", "Gather"]) == []


@pytest.mark.parametrize("through", ["Transpose", "Identity", "perm", "straight"])
@pytest.mark.parametrize("operator", ["MatMul", "Gemm", "Gemm transB"])
def test_a_weight_is_seen_through_one_transpose_or_identity(operator: str, through: str) -> None:
    attributes = {"perm": {"perm": [1, 0]}, "straight": {"perm": [0, 1]}}.get(through, {})
    turns = through in ("Transpose", "perm")
    reads_nk = operator == "Gemm transB"
    shape = (N, K) if reads_nk != turns else (K, N)
    before = node("Identity" if through == "Identity" else "Transpose", ["w"], "t", **attributes)
    product = node(operator.split()[0], ["x", "t"], "y", **({"transB": 1} if reads_nk else {}))
    expected = [] if through == "straight" else [(operator.split()[0], "w", shape == (N, K), K, N)]
    assert found([before, product], {"w": drawn(*shape)}) == expected


def test_a_weight_behind_two_nodes_or_behind_another_library_s_transpose_is_none() -> None:
    nodes = [node("Transpose", ["w"], "t"), node("Identity", ["t"], "u"), node("MatMul", ["x", "u"], "y")]
    assert found(nodes, {"w": drawn(N, K)}) == []
    made = model([node("Transpose", ["w"], "t"), node("MatMul", ["x", "t"], "y")], {"x": ["B", K]}, ["y"],
                 {"w": drawn(N, K)})  # fmt: skip
    made.graph.node[0].domain = "elsewhere"
    assert find_sites(made, ALL) == []
    made.graph.node[0].domain = "ai.onnx"
    assert len(find_sites(made, ALL)) == 1


def test_an_operator_of_another_domain_is_none() -> None:
    made = model([node("MatMul", ["x", "w"], "y")], {"x": ["B", K]}, ["y"], {"w": drawn(K, N)})
    made.graph.node[0].domain = "elsewhere"
    assert find_sites(made, ALL) == []
    made.graph.node[0].domain = "ai.onnx"
    assert len(find_sites(made, ALL)) == 1


@pytest.mark.parametrize(
    ("attributes", "is_one"),
    [
        ({}, True), ({"alpha": 1.0, "beta": 1.0, "transA": 0}, True), ({"alpha": 0.5}, False), ({"beta": 0.5}, False),
        ({"transA": 1}, False),
    ],
)  # fmt: skip
def test_a_gemm_is_one_where_it_is_a_product_and_a_sum(attributes: dict[str, Any], is_one: bool) -> None:
    x = (K, "B") if attributes.get("transA") else ("B", K)
    nodes = [node("Gemm", ["x", "w", "b"], "y", **attributes)]
    assert len(found(nodes, {"w": drawn(K, N), "b": drawn(N)}, x)) == is_one


@pytest.mark.parametrize("bias", [(), (N,), (1, N), (1,), (5, N), (5, 1)])
def test_a_gemm_may_have_any_bias(bias: tuple[int, ...]) -> None:
    nodes = [node("Gemm", ["x", "w", "b"], "y")]
    assert found(nodes, {"w": drawn(K, N), "b": drawn(*bias)}, (5, K)) == [("Gemm", "w", False, K, N)]
    assert len(found([node("Gemm", ["x", "w", ""], "y")], {"w": drawn(K, N)})) == 1


@pytest.mark.parametrize(
    ("image", "weight", "groups", "k"),
    [
        ((1, 16, 9), (32, 16, 3), 1, 48), ((1, 16, 9, 9), (32, 16, 3, 3), 1, 144), ((1, 16, 4, 4, 4), (32, 16, 2, 2, 2), 1, 128),
        ((1, 16, 9, 9), (32, 4, 3, 3), 4, 36), ((1, 128, 9, 9), (128, 1, 3, 3), 128, 9),
    ],
)  # fmt: skip
def test_a_convolution_is_a_product_per_group(image: Any, weight: tuple[int, ...], groups: int, k: int) -> None:
    nodes = [node("Conv", ["x", "w"], "y", group=groups)]
    assert found(nodes, {"w": drawn(*weight)}, image) == [("Conv", "w", True, k, weight[0])]


@pytest.mark.parametrize(("axis", "is_one"), [(None, True), (0, True), (-2, True), (1, False), (-1, False)])
def test_a_table_is_looked_up_by_row(axis: int | None, is_one: bool) -> None:
    nodes = [node("Gather", ["w", "i"], "rows", **({} if axis is None else {"axis": axis})),
             node("Mul", ["rows", "x"], "y")]  # fmt: skip
    made = model(nodes, {"x": ["B"]}, ["y"], {"w": drawn(N, K), "i": np.array(3)})
    sites = find_sites(made, ALL)
    assert [(s.weight, s.stored_nk, s.activation, s.k, s.n) for s in sites] == [("w", True, "", K, N)] * is_one


def test_a_table_behind_a_transpose_or_of_three_axes_is_none() -> None:
    nodes = [node("Transpose", ["w"], "t"), node("Gather", ["t", "i"], "rows"), node("Mul", ["rows", "x"], "y")]
    assert found(nodes, {"w": drawn(N, K), "i": np.array(3)}, ("B",)) == []
    nodes = [node("Gather", ["w", "i"], "rows"), node("Mul", ["rows", "x"], "y")]
    assert found(nodes, {"w": drawn(N, K, 2), "i": np.array(3)}, ("B",)) == []


@pytest.mark.parametrize("shape", [(2, K, N), (1, K, N), (K * N,)])
def test_a_weight_that_is_no_matrix_is_none(shape: tuple[int, ...]) -> None:
    assert (
        found([node("MatMul", ["x", "w"], "y")], {"w": drawn(*shape)}, ("B", shape[0] if len(shape) == 1 else K)) == []
    )
    if len(shape) == 3:  # a Transpose that names no order turns all three
        nodes = [node("Transpose", ["w"], "t"), node("MatMul", ["x", "t"], "y")]
        assert found(nodes, {"w": drawn(*shape).T.copy()}) == []


def test_a_product_of_two_weights_or_of_a_weight_in_front_is_none() -> None:
    weights = {"w": drawn(K, N), "v": drawn(K, K)}
    assert found([node("MatMul", ["v", "w"], "vw"), node("MatMul", ["x", "vw"], "y")], weights) == []
    nodes = [node("Identity", ["v"], "u"), node("MatMul", ["u", "w"], "uw"), node("MatMul", ["x", "uw"], "y")]
    assert found(nodes, weights) == []
    assert found([node("MatMul", ["v", "x"], "y")], {"v": drawn(K, K)}, (K, "B")) == []


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_a_weight_of_another_type_is_none(dtype: type[np.generic]) -> None:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [node("Cast", ["x"], "wide", to=kind), node("MatMul", ["wide", "w"], "p"),
             node("Cast", ["p"], "y", to=TensorProto.FLOAT)]  # fmt: skip
    assert found(nodes, {"w": drawn(K, N).astype(dtype)}) == []


def test_a_weight_that_a_caller_may_give_is_none() -> None:
    made = model([node("MatMul", ["x", "w"], "y")], {"x": ["B", K], "w": [K, N]}, ["y"], {"w": drawn(K, N)})
    assert [i.name for i in made.graph.input] == ["x", "w"] and find_sites(made, ALL) == []


def test_nodes_in_bodies_are_none_and_those_beside_them_are() -> None:
    def body(name: str) -> onnx.GraphProto:
        return helper.make_graph([node("MatMul", ["x", "w"], name)], name, [],
                                 [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)])  # fmt: skip

    nodes = [
        node("ReduceMax", ["x"], "most", keepdims=0), node("Greater", ["most", "zero"], "is"),
        node("If", ["is"], "a", then_branch=body("then"), else_branch=body("else")),
        node("MatMul", ["x", "w"], "b"), node("Add", ["a", "b"], "y"),
    ]  # fmt: skip
    made = model(nodes, {"x": ["B", K]}, ["y"], {"w": drawn(K, N), "zero": np.float32(0)})
    assert [s.node for s in find_sites(made, ALL)] == ["node b"]


def test_sites_are_in_the_graph_s_order_and_share_what_they_share() -> None:
    nodes = [node("MatMul", ["x", name], name.upper()) for name in ("q", "k", "v")]
    nodes += [node("MatMul", ["Q", "o"], "first"), node("MatMul", ["V", "o"], "second"),
              node("Sum", ["first", "second", "K"], "y")]  # fmt: skip
    made = model(nodes, {"x": ["B", K]}, ["y"], {name: drawn(K, K) for name in "qkvo"})
    sites = find_sites(made, ALL)
    assert [s.node for s in sites] == [f"node {name}" for name in ("Q", "K", "V", "first", "second")]
    assert [s.activation for s in sites] == ["x", "x", "x", "Q", "V"]
    assert len({s.matrix for s in sites}) == 4


def test_one_weight_as_it_is_stored_and_turned_is_two_matrices() -> None:
    nodes = [node("MatMul", ["x", "w"], "a"), node("Gemm", ["a", "w"], "y", transB=1)]
    made = model(nodes, {"x": ["B", K]}, ["y"], {"w": drawn(K, K)})
    assert len({s.matrix for s in find_sites(made, ALL)}) == 2


@given(k=st.integers(1, 80), n=st.integers(1, 80), turned=st.booleans())
def test_small_weights_gain_nothing(k: int, n: int, turned: bool) -> None:
    weight = numpy_helper.from_array(np.zeros((n, k) if turned else (k, n), np.float32), "w")
    product = helper.make_node("Gemm", ["x", "w"], ["y"], name="product", transB=int(turned))
    graph = onnx.ModelProto(graph=onnx.GraphProto(node=[product], initializer=[weight]))
    expected = [("product", turned, k, n)] if k * n >= LEAST_ELEMENTS else []
    assert [(s.node, s.stored_nk, s.k, s.n) for s in find_sites(graph, ["Gemm"])] == expected
