"""Activations in fp8: what ONNX Runtime computes is what the graph says, at any optimization."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import onnx.reference
import pytest
from attn_export.precision.typed.emulation import emulate
from attn_export.precision.typed.float8 import round_by_casts
from onnx import TensorProto, helper, numpy_helper
from support.quantised.products import drawn, ran

FLOAT8 = ml_dtypes.float8_e4m3fn


def graph(rest: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """y = fp8(relu(x)) @ fp8(w), each by its scale, beside a DequantizeLinear of something else."""
    kind = helper.tensor_dtype_to_np_dtype(rest)
    weights = {
        "by": np.asarray(2.0**-6, kind), "zero": np.zeros((), FLOAT8), "w": drawn(16, 8, seed=1).astype(FLOAT8),
        "w_by": np.full(8, 0.5, kind), "eight": np.int8([3, -4]), "eight_zero": np.int8(0),
    }  # fmt: skip
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], name="r"),
        helper.make_node("QuantizeLinear", ["r", "by", "zero"], ["q"], name="q"),
        helper.make_node("DequantizeLinear", ["q", "by", "zero"], ["dq"], name="dq"),
        helper.make_node("DequantizeLinear", ["w", "w_by"], ["w_dq"], name="w_dq", axis=1),
        helper.make_node("MatMul", ["dq", "w_dq"], ["y"], name="y"),
        helper.make_node("DequantizeLinear", ["eight", "by", "eight_zero"], ["z"], name="z"),
    ]
    made = helper.make_model(
        helper.make_graph(
            nodes, "g", [helper.make_tensor_value_info("x", rest, ["B", 16])],
            [helper.make_tensor_value_info("y", rest, ["B", 8]), helper.make_tensor_value_info("z", rest, [2])],
            [numpy_helper.from_array(value, name) for name, value in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 22)], ir_version=10,
    )  # fmt: skip
    onnx.checker.check_model(made, full_check=True)
    return made


def expected(x: np.ndarray) -> np.ndarray:
    scaled = np.clip(np.maximum(x, 0) * np.float32(64), -448, 448)
    return scaled.astype(FLOAT8).astype(np.float32) / 64 @ (drawn(16, 8, seed=1).astype(FLOAT8).astype(np.float32) / 2)


@pytest.mark.parametrize("optimizations", [True, False])
def test_a_relu_and_a_product_around_fp8_are_computed_as_written(optimizations: bool) -> None:
    made = graph()
    round_by_casts(made.graph)
    onnx.checker.check_model(made, full_check=True)
    x = 4 * drawn(5, 16, seed=2)  # up to beyond 7, the largest number here
    got = ran(made, optimizations, x=x)
    np.testing.assert_allclose(got["y"], expected(x), rtol=1e-5, atol=1e-5)
    assert got["z"].tolist() == [3 / 64, -4 / 64]
    assert {n.name: n.op_type for n in made.graph.node if "//" not in n.name} == {
        "r": "Relu", "q": "Cast", "dq": "Mul", "w_dq": "DequantizeLinear", "y": "MatMul", "z": "DequantizeLinear"
    }  # fmt: skip


def test_the_casts_round_as_onnx_says_that_quantize_linear_does() -> None:
    made = graph()
    x = np.linspace(-8, 8, 16 * 41, dtype=np.float32).reshape(41, 16)
    before = onnx.reference.ReferenceEvaluator(made).run(None, {"x": x})
    round_by_casts(made.graph)
    for one, other in zip(before, onnx.reference.ReferenceEvaluator(made).run(None, {"x": x}), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("between", [True, False])
def test_the_emulated_graph_of_a_half_one_rounds_to_fp8_too(between: bool) -> None:
    made = emulate(graph(TensorProto.FLOAT16), between)
    x = 4 * drawn(5, 16, seed=2)
    got = ran(made, x=x)["y"]
    wanted = expected(x.astype(np.float16).astype(np.float32))
    np.testing.assert_allclose(got, wanted, rtol=2e-3, atol=2e-2)
    assert got.dtype == np.float32 and (np.abs(got - wanted).max() > 0) == between


def test_scales_per_channel_stay_as_they_are() -> None:
    made = graph()
    by, zero = (next(t for t in made.graph.initializer if t.name == name) for name in ("by", "zero"))
    by.CopyFrom(numpy_helper.from_array(np.full(16, 0.5, np.float32), "by"))
    zero.CopyFrom(numpy_helper.from_array(np.zeros(16, FLOAT8), "zero"))
    before = made.SerializeToString()
    round_by_casts(made.graph)
    assert made.SerializeToString() == before
