"""Which rounding is of which tensor of the fp32 graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from attn_export.precision.layerwise.sensitivity import SWITCH, add_switches, in_source, measure_sensitivity
from attn_export.precision.typed.emulation import ENTERED, HALVED
from attn_runtime.bundle import Case, write_tensors
from attn_runtime.child_process import ChildProcess
from attn_runtime.compare import Tolerance
from onnx import numpy_helper


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("h", "h"), ("h_cast_to_fp16", "h"), ("h_cast_to_bf16", "h"), ("h_cast_to_fp32", "h"), ("h_pre_cast", "h"),
        ("h_before_mask", "h"),
        (f"x{ENTERED}", "x"), ("own_cast_to_fp16", "own_cast_to_fp16"), ("h_cast_to_fp16_more", None), ("other", None),
    ],
)  # fmt: skip
def test_a_cast_is_of_the_tensor_that_it_casts(name: str, tensor: str | None) -> None:
    assert in_source(name, {"h", "x", "own", "own_cast_to_fp16"}) == tensor


def test_an_integer_that_is_cast_to_half_precision_gets_a_switch_too() -> None:
    """Positions that are computed in integers become float where they are used: what is rounded is no float yet."""
    one = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["": 22]> g (int64[n] i) => (float[n] y)
        { f = Cast<to = 1>(i)  y = Neg(f) }"""
    )
    rounded = onnx.parser.parse_model(
        f"""<ir_version: 10, opset_import: ["": 22]> g (int64[n] i) => (float[n] y)
        {{ "f{HALVED}" = Cast<to = 10>(i)  f = Cast<to = 1>("f{HALVED}")  y = Neg(f) }}"""
    )
    assert add_switches(rounded, one) == [("f", False)]
    session = onnxruntime.InferenceSession(rounded.SerializeToString(), providers=["CPUExecutionProvider"])
    counted = np.asarray([2049], np.int64)
    answers = [session.run(None, {"i": counted, SWITCH: np.asarray([on])})[0].item() for on in (False, True)]
    assert answers == [-2049, -2048]


ROUNDED = f"""<ir_version: 10, opset_import: ["": 22]> g (float[n, 2] x) => (float[n, 2] y) {{
    w = Cast<to = 1>("w{HALVED}")  w_1 = Cast<to = 1>("w_1{HALVED}")  w_2 = Cast<to = 1>("w_2{HALVED}")
    a = Mul(x, w)  b = Mul(a, w_1)  y = Mul(b, w_2) }}"""


def rounded(folder: Path) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """A weight that three nodes read, as AutoCast copies it, but that the last copy is another weight; and the fp32 graph."""
    source = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["": 22]> g (float[n, 2] x) => (float[n, 2] y) {
        a = Mul(x, w)  b = Mul(a, w)  y = Mul(b, w_2) }""")
    values = {"w": np.float32([0.1]), "w_2": np.float32([0.1, 0.3])}
    source.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in values.items())
    model = onnx.parser.parse_model(ROUNDED)
    for name in ("w", "w_1", "w_2"):
        half = values[name if name in values else "w"].astype(np.float16)
        model.graph.initializer.append(numpy_helper.from_array(half, f"{name}{HALVED}"))
    beside = onnx.ModelProto.FromString(source.SerializeToString())
    onnx.save(beside, folder / "source.onnx", save_as_external_data=True, location="weights.data", size_threshold=0)
    return model, source


def test_every_copy_of_a_weight_gets_a_switch(tmp_path: Path) -> None:
    """Unrounded all, the answer is that in fp32: what can't be switched off would pass for the fault of all others."""
    model, source = rounded(tmp_path)
    assert add_switches(model, source) == [("w", True), ("w", True), ("w_2", True)]
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    one = np.ones((1, 2), np.float32)
    (found,) = session.run(None, {"x": one, SWITCH: np.zeros(3, np.bool_)})
    np.testing.assert_array_equal(
        found, [[np.float32(0.1) ** 2 * np.float32(0.1), np.float32(0.1) ** 2 * np.float32(0.3)]]
    )
    for each in range(3):
        (found,) = session.run(None, {"x": one, SWITCH: np.arange(3) == each})
        assert (found != np.float32(0.1) ** 2 * np.float32([0.1, 0.3])).any()


def test_a_number_behind_a_name_is_no_copy_where_the_shape_is_another(tmp_path: Path) -> None:
    model, source = rounded(tmp_path)
    del source.graph.initializer[1]
    assert add_switches(model, source) == [("w", True), ("w", True)]


def test_weights_beside_the_graph_are_measured_too(tmp_path: Path) -> None:
    model, _ = rounded(tmp_path)
    onnx.save(model, tmp_path / "emulated.onnx")
    answers = np.float32([[0.1**3, 0.1**2 * 0.3]])
    write_tensors(tmp_path / "in.safetensors", {"x": np.ones((1, 2), np.float32)})
    write_tensors(tmp_path / "out.safetensors", {"y": answers})
    with ChildProcess(60) as isolated:
        found = measure_sensitivity(
            tmp_path / "source.onnx",
            tmp_path / "emulated.onnx",
            [Case("one", {"n": 1}, tmp_path / "in.safetensors", tmp_path / "out.safetensors")],
            Tolerance(atol=0.0, rtol=1e-4),
            isolated,
        )
    assert sorted(one.tensor for one in found) == ["w", "w", "w_2"]
    assert all(0.5 < one.ratio < 5 for one in found)
