"""Facts about values, in a graph with a body: what is inferred, what is constant, and that no file gets to see it."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from attn_export.onnx_graph.graph_index import dtype_of, index, is_constant, is_one_number, shape_of, stored
from onnx import TensorProto, helper, numpy_helper

WEIGHT = np.arange(96, dtype=np.float32).reshape(4, 24)


def proto() -> onnx.ModelProto:
    """y = If(c): x @ transpose(w), else the same with relu behind; r = reshape(x, s)."""
    bodies = []
    for name, operators in (("then", ("Identity",)), ("else", ("Relu",))):
        nodes = [helper.make_node("MatMul", ["x", "turned"], ["h"]), helper.make_node(operators[0], ["h"], ["out"])]
        bodies.append(helper.make_graph(nodes, name, [], [helper.make_tensor_value_info("out", 1, None)]))
    nodes = [
        helper.make_node("Transpose", ["w"], ["turned"], perm=[1, 0]),
        helper.make_node("If", ["c"], ["y"], then_branch=bodies[0], else_branch=bodies[1]),
        helper.make_node("Reshape", ["x", "s"], ["r"]),
    ]
    inputs = [
        helper.make_tensor_value_info("x", 1, ["n", 24]),
        helper.make_tensor_value_info("c", TensorProto.BOOL, []),
    ]
    outputs = [helper.make_tensor_value_info("y", 1, None), helper.make_tensor_value_info("r", 1, None)]
    weights = [numpy_helper.from_array(WEIGHT, "w"), numpy_helper.from_array(np.array([0, 2, 12]), "s")]
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.fixture
def values() -> dict[str, ir.Value]:
    model = ir.from_proto(proto())
    index(model)
    return ir.convenience.create_value_mapping(model.graph)


def test_shapes_and_dtypes_are_inferred_in_bodies_too(values: dict[str, ir.Value]) -> None:
    assert shape_of(values["turned"]) == (24, 4)
    assert shape_of(values["r"]) == ("n", 2, 12)  # by the value of a small constant
    assert shape_of(values["h"]) == shape_of(values["out"]) == ("n", 4)
    assert (dtype_of(values["out"]), dtype_of(values["c"])) == ("float32", "bool")
    assert is_one_number(values["c"]) and not is_one_number(values["h"])


def test_what_is_made_of_weights_alone_is_constant(values: dict[str, ir.Value]) -> None:
    assert [name for name, value in values.items() if is_constant(value)] == ["w", "s", "turned"]
    assert is_constant(None)  # an input that is left out
    held = stored(values["w"])
    assert held is not None and np.array_equal(held, WEIGHT)
    assert stored(values["turned"]) is None


def test_nothing_of_it_is_written() -> None:
    model = ir.from_proto(proto())
    before = ir.to_proto(model)
    index(model)
    assert ir.to_proto(model) == before


def test_without_inference_what_the_file_declares_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", lambda *_, **__: 1 / 0)
    model = ir.from_proto(proto())
    index(model)
    known = ir.convenience.create_value_mapping(model.graph)
    assert shape_of(known["x"]) == ("n", 24)
    assert shape_of(known["w"]) == (4, 24)
    assert shape_of(known["turned"]) is None
