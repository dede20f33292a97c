"""A graph with a switch per site: off it is the fp32 graph, on it is what the file for a CPU will be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from attn_export.precision.layerwise import probe
from attn_export.precision.quantised.switches import FLAGS, add_switches, weight_input
from attn_export.precision.quantised.weights import ELEMENTS, as_stored
from onnx import TensorProto, helper, numpy_helper
from support.quantised.products import SATURATES, Array, Rounded, drawn, model, node, off, ran, rounded

EVERY = ["int8", "fp8", "int8-dynamic", "int8-weights", "int4-weights"]
SITES = ["e", "a", "c", "h", "y"]
SCALES = {"x": 2.0**-5, "s": 2.0**-3, "r": 2.0**-4}
K = 64


def layers() -> onnx.ModelProto:
    """A table that is the head too, behind a Transpose; one activation for two products; a weight that a body reads."""
    body = helper.make_graph([node("MatMul", ["h", "o"], "inner")], "b", [],
                             [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)])  # fmt: skip
    nodes = [
        node("Gather", ["table", "ids"], "e"), node("Add", ["e", "x"], "s"), node("MatMul", ["s", "q"], "a"),
        node("Gemm", ["s", "k", "b"], "c", transB=1), node("Sum", ["a", "c"], "t"), node("Relu", ["t"], "r"),
        node("Gemm", ["r", "o"], "h"), node("If", ["is"], "z", then_branch=body, else_branch=body),
        node("Transpose", ["table"], "turned"), node("MatMul", ["x", "turned"], "y"),
    ]  # fmt: skip
    weights = {"table": drawn(40, K, seed=1), "q": drawn(K, K, seed=2) / 8, "k": drawn(K, K, seed=3) / 8,
               "b": drawn(K, seed=4), "o": drawn(K, K, seed=5) / 8, "is": np.array(True)}  # fmt: skip
    return model(nodes, {"ids": ["B"], "x": ["B", K]}, ["h", "y", "z"], weights)


def feeds() -> dict[str, Array]:
    return {"ids": np.int64([3, 0, 39, -1]), "x": drawn(4, K, seed=8)}


def switched(made: Rounded, on: set[str]) -> dict[str, Array]:
    """With the sites `on` quantised, by the outputs of their nodes."""
    graph = onnx.load(made.source)
    add_switches(graph, made.sites, made.scheme.activations, SCALES, ELEMENTS[made.scheme.weights])
    onnx.checker.check_model(graph)
    session = probe(graph, made.source.parent, ())
    exact = {t.name: numpy_helper.to_array(t) for t in onnx.load(made.source).graph.initializer}
    flags = [site.node.removeprefix("node ") in on for site in made.sites]
    fed = {**feeds(), FLAGS: np.array(flags)}
    for number, (site, is_on) in enumerate(zip(made.sites, flags, strict=True)):
        shape = exact[site.weight].shape
        value = as_stored(made.weights.of(site).dequantised(), site, shape) if is_on else exact[site.weight]
        fed[weight_input(number)] = value
    wanted = {i.name for i in session.get_inputs()}
    assert (FLAGS in wanted) == (made.scheme.activations != "float")
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, {n: v for n, v in fed.items() if n in wanted}), strict=True))


@pytest.mark.parametrize("name", EVERY)
def test_with_nothing_quantised_it_is_the_graph_itself_bit_for_bit(name: str, tmp_path: Path) -> None:
    made = rounded(layers(), name, tmp_path)
    assert [s.node.removeprefix("node ") for s in made.sites] == SITES["weights" not in name :]
    exact, got = ran(made.source, False, **feeds()), switched(made, set())
    for output, value in exact.items():
        np.testing.assert_array_equal(got[output], value)


CHOICES = [*({site} for site in SITES), {"a", "c"}, {"a", "h"}, {"h", "y"}, set(SITES)]


@pytest.mark.parametrize(("name", "on"), [(n, on) for n in EVERY for on in CHOICES if "weights" in n or on != {"e"}])
def test_with_some_quantised_it_answers_what_their_file_answers(name: str, on: set[str], tmp_path: Path) -> None:
    made = rounded(layers(), name, tmp_path)
    sites = {s.node.removeprefix("node ") for s in made.sites}
    form = made.written(sorted(sites - on), SCALES)
    as_it_is = not (SATURATES and made.scheme.activations == "dynamic")
    got, written, exact = switched(made, on), ran(form, not as_it_is, **feeds()), ran(made.source, **feeds())
    # MatMulNBits rounds activations too, which nothing here stands for.
    limit = 1e-5 if made.scheme.activations != "float" else 2e-2
    for output, value in written.items():
        assert off(got[output], value) <= limit, output
    assert max(off(got[output], value) for output, value in exact.items()) > 1e-4


def test_the_weights_are_inputs_and_no_others_are_left_but_those_that_are_read(tmp_path: Path) -> None:
    made = rounded(layers(), "int8-weights", tmp_path)
    graph = onnx.load(made.source)
    add_switches(graph, made.sites, "float", {}, TensorProto.INT8)
    assert [i.name for i in graph.graph.input] == ["ids", "x", *map(weight_input, range(5))]
    assert {t.name for t in graph.graph.initializer} == {"b", "o", "is"}


def test_fp8_in_a_graph_of_an_older_opset(tmp_path: Path) -> None:
    source = model([node("MatMul", ["x", "w"], "y")], {"x": ["B", K]}, ["y"], {"w": drawn(K, K)}, 17)
    made = rounded(source, "fp8", tmp_path)
    graph = onnx.load(made.source)
    add_switches(graph, made.sites, "static", SCALES, TensorProto.FLOAT8E4M3FN)
    onnx.checker.check_model(graph, full_check=True)
    fed = {"x": drawn(4, K), FLAGS: np.array([True]), weight_input(0): made.matrix("y")}
    assert off(ran(graph, False, **fed)["y"], fed["x"] @ made.matrix("y")) < 0.1
