"""The twin computes what half precision computes: held against numpy's own float16 and against onnx's evaluator."""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx.reference
import onnxruntime
import pytest
from attn_export.precision.typed.emulation import emulate
from attn_runtime.errors import BundleError
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

HALF = {"fp16": (TensorProto.FLOAT16, np.float16), "bf16": (TensorProto.BFLOAT16, ml_dtypes.bfloat16)}
LEVELS = ["ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL"]


def tensor(name: str, value: Any, kind: str = "fp16") -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value, np.float32).astype(HALF[kind][1]), name)


def value(name: str, shape: list[Any], element: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element, shape)


def model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    weights: list[onnx.TensorProto] | None = None,
    opset: int = 22,
    **more: Any,
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights or [], **more)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(made, full_check=True)
    return made


def run(graph: onnx.ModelProto, feed: dict[str, Any], level: str = "ORT_ENABLE_ALL") -> list[np.ndarray[Any, Any]]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: list[np.ndarray[Any, Any]] = session.run(None, feed)
    return found


def square_root_of_product() -> onnx.ModelProto:
    """sqrt(x @ w) with casts around it: the product of 300 and 300 lies beyond 65504, its root within."""
    nodes = [
        helper.make_node("Cast", ["x"], ["xh"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["xh", "w"], ["p"], name="product"),
        helper.make_node("Sqrt", ["p"], ["r"]),
        helper.make_node("Cast", ["r"], ["y"], to=TensorProto.FLOAT),
    ]
    return model(nodes, [value("x", [1, 1])], [value("y", [1, 1])], [tensor("w", [[300.0]])])


def test_onnx_runtime_itself_hides_the_overflow() -> None:
    # Why there is a twin at all: if this fails, ONNX Runtime's CPU kernels round by now, and docs/use/precision.md is old.
    (y,) = run(square_root_of_product(), {"x": np.float32([[300]])})
    assert y[0, 0] == pytest.approx(300, rel=1e-3)


@pytest.mark.parametrize("level", LEVELS)
def test_the_twin_shows_the_overflow_at_every_optimization_level(level: str) -> None:
    typed = square_root_of_product()
    (y,) = run(emulate(typed), {"x": np.float32([[300]])}, level)
    assert np.isposinf(y).all()
    (peer,) = onnx.reference.ReferenceEvaluator(typed).run(None, {"x": np.float32([[300]])})
    assert np.isposinf(peer).all()
    (y,) = run(emulate(typed), {"x": np.float32([[200]])}, level)
    assert y[0, 0] == np.sqrt(np.float16(60000)).astype(np.float16)


def test_the_typed_graph_is_not_changed() -> None:
    typed = square_root_of_product()
    before = typed.SerializeToString()
    twin = emulate(typed)
    assert typed.SerializeToString() == before
    onnx.checker.check_model(twin, full_check=True)
    assert [i.type.tensor_type.elem_type for i in (*twin.graph.input, *twin.graph.output)] == [1, 1]


#: One operator after another, elementwise, as ONNX and as numpy on the type itself.
STEPS = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": lambda a, b: a / b,
    "Max": np.maximum,
    "Min": np.minimum,
    "Neg": lambda a: -a,
    "Abs": np.abs,
    "Relu": lambda a: np.maximum(a, a.dtype.type(0)),
    "Transpose": np.transpose,
}
UNARY = {"Neg", "Abs", "Relu", "Transpose"}


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["fp16", "bf16"]),
    steps=st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 3)), min_size=1, max_size=8),
    scale=st.sampled_from([1e-6, 1.0, 100.0, 6e4]),
    seed=st.integers(0, 2**31),
)
def test_every_chain_gives_the_bits_that_numpy_gives_in_the_type_itself(
    kind: str, steps: list[tuple[str, int]], scale: float, seed: int
) -> None:
    element, dtype = HALF[kind]
    rng = np.random.default_rng(seed)
    x = (scale * rng.standard_normal((3, 3))).astype(np.float32)
    weights = (scale * rng.standard_normal((4, 3, 3))).astype(np.float32).astype(dtype)
    nodes = [helper.make_node("Cast", ["x"], ["t0"], to=element)]
    with np.errstate(all="ignore"):
        expected = x.astype(dtype)
        for number, (operator, weight) in enumerate(steps):
            operands = [f"t{number}"] + ([] if operator in UNARY else [f"w{weight}"])
            nodes.append(helper.make_node(operator, operands, [f"t{number + 1}"]))
            step: Any = STEPS[operator]
            expected = step(expected) if operator in UNARY else step(expected, weights[weight])
            expected = np.asarray(expected).astype(dtype)
    nodes.append(helper.make_node("Cast", [f"t{len(steps)}"], ["y"], to=TensorProto.FLOAT))
    typed = model(
        nodes, [value("x", [3, 3])], [value("y", [3, 3])], [tensor(f"w{i}", w, kind) for i, w in enumerate(weights)]
    )
    (y,) = run(emulate(typed), {"x": x})
    assert np.array_equal(y, expected.astype(np.float32), equal_nan=True)


def test_a_product_accumulates_in_fp32_and_rounds_once() -> None:
    # 4096 times 1 + 2**-10: in float16 steps the sum would stick at 2048.
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    x, w = np.ones((1, 4096), np.float32), np.full((4096, 1), 1 + 2**-10, np.float32)
    typed = model(
        nodes, [value("x", [1, 4096], TensorProto.FLOAT16)], [value("y", [1, 1], TensorProto.FLOAT16)], [tensor("w", w)]
    )
    (y,) = run(emulate(typed), {"x": x})
    assert y[0, 0] == np.float16(4096 * (1 + 2**-10))


def test_half_inputs_are_rounded_where_they_enter_and_half_outputs_are_float32() -> None:
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    kinds = {"element": TensorProto.FLOAT16}
    typed = model(nodes, [value("x", [2], **kinds)], [value("y", [2], **kinds)])
    (y,) = run(emulate(typed), {"x": np.float32([1.0001, 7e4])})
    assert y.dtype == np.float32
    assert y.tolist() == [1.0, np.inf]


def test_an_fp32_part_is_left_exact() -> None:
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["square"]),
        helper.make_node("Cast", ["square"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["half"], ["y"], to=TensorProto.FLOAT),
    ]
    typed = model(nodes, [value("x", [1])], [value("y", [1]), value("square", [1])])
    y, square = run(emulate(typed), {"x": np.float32([300.003])})
    assert np.isinf(y).all()
    assert square[0] == np.float32(300.003) * np.float32(300.003)


def test_branches_and_loops_round_inside() -> None:
    half = TensorProto.FLOAT16
    grow = helper.make_graph(
        [helper.make_node("Mul", ["state", "w"], ["next"]), helper.make_node("Identity", ["go"], ["went"])],
        "body",
        [value("i", [], TensorProto.INT64), value("go", [], TensorProto.BOOL), value("state", [1], half)],
        [value("went", [], TensorProto.BOOL), value("next", [1], half)],
    )
    small = helper.make_graph([helper.make_node("Add", ["xh", "w"], ["a"])], "then", [], [value("a", [1], half)])
    plain = helper.make_graph([helper.make_node("Identity", ["xh"], ["b"])], "else", [], [value("b", [1], half)])
    nodes = [
        helper.make_node("Cast", ["x"], ["xh"], to=half),
        helper.make_node("Loop", ["times", "", "xh"], ["looped"], body=grow),
        helper.make_node("If", ["which"], ["branched"], then_branch=small, else_branch=plain),
        helper.make_node("Cast", ["looped"], ["y"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["branched"], ["z"], to=TensorProto.FLOAT),
    ]
    inputs = [value("x", [1]), value("times", [], TensorProto.INT64), value("which", [], TensorProto.BOOL)]
    typed = model(nodes, inputs, [value("y", [1]), value("z", [1])], [tensor("w", [1.001])])
    feed = {"x": np.float32([1.0003]), "times": np.asarray(50), "which": np.asarray(True)}
    expected = np.float16(1.0003)
    for _ in range(50):
        expected = np.float16(expected * np.float16(1.001))
    y, z = run(emulate(typed), feed)
    assert y[0] == expected
    assert z[0] == np.float16(1.0003) + np.float16(1.001)
    _, z = run(emulate(typed), {**feed, "which": np.asarray(False)})
    assert z[0] == np.float16(1.0003)


def test_a_half_input_is_rounded_for_the_bodies_that_read_it() -> None:
    half = TensorProto.FLOAT16
    branch = helper.make_graph([helper.make_node("Add", ["x", "x"], ["a"])], "then", [], [value("a", [1], half)])
    other = helper.make_graph([helper.make_node("Identity", ["x"], ["b"])], "else", [], [value("b", [1], half)])
    nodes = [helper.make_node("If", ["which"], ["y"], then_branch=branch, else_branch=other)]
    typed = model(nodes, [value("x", [1], half), value("which", [], TensorProto.BOOL)], [value("y", [1], half)])
    for which, expected in ((True, 2 * np.float16(1.0003)), (False, np.float16(1.0003))):
        (y,) = run(emulate(typed), {"x": np.float32([1.0003]), "which": np.asarray(which)})
        assert y[0] == expected


def test_constants_and_types_in_attributes() -> None:
    half = TensorProto.FLOAT16
    nodes = [
        helper.make_node("Constant", [], ["c"], value=tensor("c", [0.1])),
        helper.make_node("ConstantOfShape", ["shape"], ["f"], value=tensor("f", [0.3])),
        helper.make_node("CastLike", ["x", "c"], ["l"]),
        helper.make_node("Add", ["c", "f"], ["s"]),
        helper.make_node("Add", ["s", "l"], ["t"]),
        helper.make_node("CastLike", ["t", "x"], ["y"]),
    ]
    shape = numpy_helper.from_array(np.int64([1]), "shape")
    typed = model(nodes, [value("x", [1])], [value("y", [1])], [shape])
    (y,) = run(emulate(typed), {"x": np.float32([1.0003])})
    assert y[0] == (np.float16(0.1) + np.float16(0.3)) + np.float16(1.0003)
    assert half not in [a.t.data_type for n in emulate(typed).graph.node for a in n.attribute if a.HasField("t")]


def test_weights_stay_in_the_data_file_of_the_typed_graph(tmp_path: Path) -> None:
    typed = model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [value("x", [1, 64], TensorProto.FLOAT16)],
        [value("y", [1, 64], TensorProto.FLOAT16)],
        [tensor("w", np.eye(64) * 1.0003)],
    )
    onnx.save(typed, tmp_path / "t.onnx", save_as_external_data=True, location="t.data", size_threshold=0)
    onnx.save(emulate(onnx.load(tmp_path / "t.onnx", load_external_data=False)), tmp_path / "twin.onnx")
    assert (tmp_path / "twin.onnx").stat().st_size < 2000
    session = onnxruntime.InferenceSession(tmp_path / "twin.onnx")
    (y,) = session.run(None, {"x": np.ones((1, 64), np.float32)})
    assert set(y.ravel().tolist()) == {float(np.float16(1.0003))}


def test_an_operator_that_mixes_types_is_refused_by_the_nodes_name() -> None:
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"], name="encoder.add")], "g", [value("x", [1])], [value("y", [1])],
        [tensor("w", [1])],
    )  # fmt: skip
    typed = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)])
    with pytest.raises(
        BundleError, match=r"encoder\.add \(Add\) mixes types: x is tensor\(float\), w is tensor\(float16\)"
    ):
        emulate(typed)


def test_a_type_that_the_operator_lacks_is_refused() -> None:
    # Resize takes its scales in float32 alone.
    nodes = [helper.make_node("Resize", ["x", "", "scales"], ["y"], name="up", mode="nearest")]
    graph = helper.make_graph(
        nodes, "g", [value("x", [1, 1, 2, 2], TensorProto.FLOAT16)], [value("y", [1, 1, 4, 4], TensorProto.FLOAT16)],
        [tensor("scales", [1, 1, 2, 2])],
    )  # fmt: skip
    typed = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)])
    with pytest.raises(BundleError, match=r"node up \(Resize\): input scales is tensor\(float16\)"):
        emulate(typed)


def test_an_operator_that_onnx_does_not_know_is_refused() -> None:
    graph = helper.make_graph(
        [helper.make_node("FusedMatMul", ["x", "x"], ["y"], name="fused", domain="com.microsoft")],
        "g", [value("x", [2, 2], TensorProto.FLOAT16)], [value("y", [2, 2], TensorProto.FLOAT16)],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 22), helper.make_opsetid("com.microsoft", 1)]
    with pytest.raises(
        BundleError, match="node fused .FusedMatMul.: operator com.microsoft::FusedMatMul has no schema"
    ):
        emulate(helper.make_model(graph, opset_imports=opsets))
