"""Which rounding is of which tensor of the fp32 graph."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from attn_export.precision.layerwise.sensitivity import SWITCH, add_switches, in_source
from attn_export.precision.typed.emulation import ENTERED, HALVED


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("h", "h"), ("h_cast_to_fp16", "h"), ("h_cast_to_bf16", "h"), ("h_cast_to_fp32", "h"), ("h_pre_cast", "h"),
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
