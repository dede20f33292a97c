"""What TensorRT's parser reads as something else, operator by operator: real parses by TensorRT-RTX.

docs/parsers.md has a row for each of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from attn_runtime.trt import library
from attn_runtime.trt.builder.parser_check import compare, read_network
from support.tensorrt.parsed_networks import IMAGE, Parsed, save_text

pytestmark = pytest.mark.skipif(library.why_unavailable("rtx") is not None, reason=str(library.why_unavailable("rtx")))

PICTURE = "(float[1,2,5,6] x) => (float[1,2,h,w] y)"
ROWS = "(float[3,4] x) => (float[h,w] y)"
HALF = "(float16[1,4,8] x) => (float16[1,4,8] y)"
BOXES = "(float[1,COUNT,4] b, float[1,2,COUNT] s) => (int64[k,3] y)"
SCALES = "s = Constant <value_floats = [1.0, 1.0, 2.0, 1.5]> ()"
ATTENTION = "(float16[2,4,8,64] q, float16[2,4,16,64] k, float16[2,4,16,64] v) => (float16[2,4,8,64] y)"
WEIGHTS = "w = Constant <value = float[1,1,3,1] {1.0, 10.0, 100.0}> ()"
UP = "(float[1,1,4,1] x) => (float[1,1,h,1] y)"


def normalised(groups: int, opset: int = 21) -> dict[str, Any]:
    return {"sides": IMAGE, "body": f"y = GroupNormalization <num_groups = {groups}> (x, s, b)", "opset": opset}


def rows(body: str, opset: int = 18) -> dict[str, Any]:
    return {"sides": ROWS, "body": body, "opset": opset}


def resized(options: str, opset: int = 18) -> dict[str, Any]:
    return {"sides": PICTURE, "body": f"{SCALES} y = Resize <{options}> (x, , s)", "opset": opset}


def scaled_of_old(call: str, opset: int) -> dict[str, Any]:
    return {
        "sides": PICTURE,
        "body": f"y = {call} (x, s)",
        "opset": opset,
        "weights": "<float[4] s = {1, 1, 2.0, 1.5}>",
    }


def upsampled(options: str) -> dict[str, Any]:
    return {"sides": UP, "body": f"{WEIGHTS} y = ConvTranspose <strides = [2, 1], {options}> (x, w)"}


def upsampled_3d() -> dict[str, Any]:
    sides = "(float[1,1,4,1,1] x, float[1,1,3,1,1] w) => (float[1,1,8,1,1] y)"
    return {"sides": sides, "body": "y = ConvTranspose <strides = [2, 1, 1], output_shape = [8, 1, 1]> (x, w)"}


def sampled(options: str = "", opset: int = 20) -> dict[str, Any]:
    sides = "(float[1,2,5,6] x, float[1,3,4,2] g) => (float[1,2,3,4] y)"
    return {"sides": sides, "body": f"y = GridSample {options} (x, g)", "opset": opset}


def boxes(inputs: str, count: int = 10) -> dict[str, Any]:
    limits = "m = Constant <value = int64[1] {5}> () t = Constant <value = float[1] {0.5}> ()"
    return {
        "sides": BOXES.replace("COUNT", str(count)),
        "body": f"{limits} y = NonMaxSuppression ({inputs})",
        "opset": 11,
    }


def quantized(zero: str, dtype: str = "int8", told: str = "") -> dict[str, Any]:
    made = f"z = Constant <value = {dtype} {{0}}> ()" if zero else ""
    scale = f"s = Constant <value = float {{0.1}}> () {made}"
    return rows(f"{scale} a = QuantizeLinear {told} (x, s{zero}) y = DequantizeLinear (a, s{zero})", 21)


def in_blocks(size: int) -> dict[str, Any]:
    """Of 6 rows two blocks: of 3 rows, or the last one shorter."""
    weights = "<int8[6,2] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, float[2,2] s = {1, 2, 3, 4}>"
    body = f"d = DequantizeLinear <axis = 0, block_size = {size}> (w, s) y = MatMul (x, d)"
    return {"sides": "(float[3,6] x) => (float[3,2] y)", "body": body, "opset": 21, "weights": weights}


def batch_norm(variance: str) -> dict[str, Any]:
    values = "{1.0, 2.0, 3.0, 4.0}"
    weights = f"<float[4] s = {values}, float[4] b = {values}, float[4] m = {values}, float[4] v = {variance}>"
    return {"sides": HALF, "body": "y = BatchNormalization (x, s, b, m, v)", "weights": weights}


def clipped(low: float, high: float) -> dict[str, Any]:
    limits = f"l = Constant <value = float {{{low}}}> () h = Constant <value = float {{{high}}}> ()"
    return rows(f"{limits} y = Clip (x, l, h)")


def accumulated(options: str) -> dict[str, Any]:
    return rows(f"a = Constant <value = int64 {{1}}> () y = CumSum <{options}> (x, a)")


def attended(options: str) -> dict[str, Any]:
    return {"sides": ATTENTION, "body": f"y = Attention {options} (q, k, v)", "opset": 23}


def of_microsoft() -> dict[str, Any]:
    sides = "(float16[2,8,256] q, float16[2,8,256] k, float16[2,8,256] v) => (float16[2,8,256] y)"
    body = "y = com.microsoft.MultiHeadAttention <num_heads = 4, unidirectional = 1> (q, k, v)"
    return {"sides": sides, "body": body}


def rotated() -> dict[str, Any]:
    sides = "(float16[2,4,8,64] x, int64[2,8] p, float16[32,32] c, float16[32,32] s) => (float16[2,4,8,64] y)"
    return {"sides": sides, "body": "y = RotaryEmbedding <interleaved = 1> (x, c, s, p)", "opset": 23}


def pooled(options: str, size: int | str) -> dict[str, Any]:
    sides = f"(float[1,2,{size},6] x) => (float[1,2,h,w] y)"
    return {"sides": sides, "body": f"y = MaxPool <ceil_mode = 1, {options}> (x)", "opset": 12}


def unreduced(operator: str) -> dict[str, Any]:
    return rows(f"y = {operator} <noop_with_empty_axes = 1> (x)")


TF, TORCH, CORNERS, ASYMMETRIC = (
    f'coordinate_transformation_mode = "{name}"'
    for name in ("tf_half_pixel_for_nn", "pytorch_half_pixel", "align_corners", "asymmetric")
)

#: What TensorRT-RTX 1.7.1 reads as something else: (graph, what is said, whether answers are certain to change)
MISREAD = [
    (normalised(1), "its one group is all channels, and TensorRT read an InstanceNormalization", True),
    ({"sides": IMAGE.replace("float[16]", "float[1]"), "body": normalised(1)["body"]}, "its one group", True),
    (resized(f'mode = "linear", {TF}'), "read HALF_PIXEL", True),
    (upsampled("output_shape = [8, 1]"), r"cuts off at the front \[1, 0\], and TensorRT read \[0, 0\]", True),
    (upsampled_3d(), r"\[1, 0, 0\], and TensorRT read \[0, 0, 0\]", True),
    (clipped(2.0, 1.0), "that gives 1, and in TensorRT 2", True),
    (unreduced("ReduceL1"), "the absolute value of each element", True),
    (unreduced("ReduceL2"), "the absolute value of each element", True),
    (unreduced("ReduceLogSum"), "the logarithm of each element", True),
    (unreduced("ReduceSumSquare"), "the square of each element", True),
    (quantized(""), "the type uint8, and TensorRT read int8", True),
    (quantized(", z", "uint8"), "the type uint8, and TensorRT read int8", True),
    (in_blocks(4), "the graph says blocks of 4, and TensorRT read 3", True),
    (batch_norm("{1.0, 2.0, 3.0, 70000.0}"), "rounded to half precision by TensorRT, whose range they leave", True),
    (batch_norm("{1.0, 2.0, 3.0, 1e-9}"), "whose range they leave", True),
    (batch_norm("{1.0, 2.0, 3.0, 4.0}"), "parameters are rounded to half precision by TensorRT$", False),
    (pooled("kernel_shape = [1, 1], strides = [2, 2]", 7), "steps of 2 would end beside the input", True),
    (pooled("kernel_shape = [2, 2], strides = [2, 1], pads = [1, 0, 1, 0]", 5), "and TensorRT adds one more", True),
    (pooled("kernel_shape = [2, 2], strides = [3, 1]", "n"), "may end beside the input, at some of its sizes", False),
    (boxes("b, s"), "gives no max_output_boxes_per_class, which is 0 boxes", True),
    (boxes("b, s, m, t"), "gives no score_threshold, which keeps every box", False),
    (boxes("b, s, m, t, t", 6000), "looks at the 5000 best boxes alone, of 6000", False),
]


@pytest.mark.parametrize(("graph", "says", "certain"), MISREAD)
def test_what_is_read_as_something_else_is_found(
    graph: dict[str, Any], says: str, certain: bool, tmp_path: Path
) -> None:
    found = Parsed(save_text(tmp_path / "m.onnx", **graph)).misread()
    assert any(re.search(says, one.text) and one.certain == certain for one in found), found
    if not certain:
        assert not any(one.certain for one in found)


#: What is read rightly, and a value of its layer that would be another meaning.
READ_RIGHTLY = [
    (normalised(4), {"num_groups": 1}),
    (normalised(16), {"epsilon": 0.5}),
    ({"sides": IMAGE, "body": "y = InstanceNormalization <epsilon = 0.1> (x, s, b)"}, {"axes": 0b1110}),
    (rows("n = Constant <value_ints = [4]> () s = ConstantOfShape (n) y = LayerNormalization (x, s)"), {"axes": 1}),
    (rows("y = Softmax <axis = 0> (x)"), {"axes": 0b10}),
    (rows("y = Softmax <axis = 0> (x)", 11), None),
    (rows('y = Gelu <approximate = "tanh"> (x)', 20), {"type": "GELU_ERF"}),
    (accumulated("exclusive = 1"), {"exclusive": False}),
    (accumulated("reverse = 1"), {"reverse": False}),
    (rows("k = Constant <value_ints = [2]> () y, i = TopK <largest = 0> (x, k)"), {"op": "MAX"}),
    (rows('p = Constant <value_ints = [1, 1, 1, 1]> () y = Pad <mode = "reflect"> (x, p)'), {"mode": "WRAP"}),
    (rows("p = Constant <value_ints = [1, -1, 0, -1]> () y = Pad (x, p)"), {"mode": "CLAMP"}),
    (clipped(1.0, 2.0), {"alpha": 3.0}),
    (rows("a = Constant <value = int64[0] {}> () y = ReduceL1 <noop_with_empty_axes = 1> (x, a)"), None),
    (quantized(", z"), {"to_type": "UINT8"}),
    (quantized("", told="<output_dtype = 3>"), {"to_type": "UINT8"}),
    (quantized("", told="<output_dtype = 17>"), None),
    (in_blocks(3), None),
    (pooled("kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]", "n"), None),
    (pooled("kernel_shape = [2, 2], strides = [3, 1]", 8), None),
    (upsampled('output_shape = [8, 1], auto_pad = "SAME_UPPER"'), None),
    (upsampled("output_shape = [7, 1]"), {"pre_padding": (0, 0), "post_padding": (2, 0)}),
    (upsampled("pads = [0, 0, 1, 0]"), None),
    (resized('mode = "nearest"'), {"nearest_rounding": "FLOOR"}),
    (resized(f'mode = "nearest", nearest_mode = "ceil", {ASYMMETRIC}'), {"coordinate_transformation": "HALF_PIXEL"}),
    (resized(f'mode = "nearest", {TF}'), {"nearest_rounding": "HALF_DOWN"}),
    (resized(f'mode = "linear", {TORCH}'), {"selector_for_single_pixel": "FORMULA"}),
    (resized(f'mode = "linear", {CORNERS}'), {"resize_mode": "CUBIC"}),
    (resized('mode = "cubic", cubic_coeff_a = -0.5'), {"cubic_coeff": -0.75}),
    (resized('mode = "cubic", exclude_outside = 1'), {"exclude_outside": 0}),
    (scaled_of_old("Upsample", 9), {"nearest_rounding": "HALF_DOWN"}),
    (scaled_of_old('Resize <mode = "linear">', 10), {"coordinate_transformation": "HALF_PIXEL"}),
    (sampled('<mode = "bicubic", padding_mode = "border", align_corners = 1>', 16), {"interpolation_mode": "LINEAR"}),
    (sampled(), {"sample_mode": "REFLECT", "align_corners": True}),
    (attended("<is_causal = 1>"), {"causal_kind": "LOWER_RIGHT"}),
    (of_microsoft(), {"causal_kind": "NONE"}),
    (rotated(), {"interleaved": False}),
    (boxes("b, s, m, t, t"), {"bounding_box_format": "CENTER_SIZES"}),
]


@pytest.mark.parametrize(("graph", "other"), READ_RIGHTLY)
def test_what_is_read_rightly_passes_and_another_reading_would_not(
    graph: dict[str, Any], other: dict[str, Any] | None, tmp_path: Path
) -> None:
    parsed = Parsed(save_text(tmp_path / "m.onnx", **graph))
    assert parsed.misread() == ()
    facts = read_network(parsed.trt, parsed.network)
    assert tuple(compare(parsed.graph, facts)) == ()
    always = ("axes", "alpha", "beta")  # a version may have no other attribute yet, and is not blamed for it
    older = [
        replace(one, values={n: v if n in always else None for n, v in one.values.items()}) for one in facts.layers
    ]
    assert tuple(compare(parsed.graph, replace(facts, layers=tuple(older)))) == ()
    if other is not None:
        changed = [
            replace(layer, values=layer.values | other) if other.keys() <= layer.values.keys() else layer
            for layer in facts.layers
        ]
        assert changed != list(facts.layers)
        assert any(one.certain for one in compare(parsed.graph, replace(facts, layers=tuple(changed))))


def test_a_mask_that_was_dropped_would_be_found(tmp_path: Path) -> None:
    sides = ATTENTION.replace("v)", "v, bool[8,16] m)", 1)
    parsed = Parsed(save_text(tmp_path / "m.onnx", sides, "y = Attention (q, k, v, m)", 23))
    assert parsed.misread() == ()
    facts = read_network(parsed.trt, parsed.network)
    without = [replace(layer, inputs=layer.inputs[:3]) for layer in facts.layers]
    assert (
        "a mask True, and TensorRT read False"
        in next(iter(compare(parsed.graph, replace(facts, layers=tuple(without))))).text
    )


# --- what TensorRT computes: it evaluates what decides shapes while it parses, without a GPU -----------------------


def answers(body: str, file: Path) -> Iterator[int]:
    """v, a whole number in a tensor of one, by ONNX Runtime and by TensorRT: the size of an output less 1000."""
    tail = "k = Constant <value = int64[1] {1000}> () u = Add (v, k) y = Expand (x, u)"
    save_text(file, "(float[1] x) => (float[n] y)", f"{body} {tail}")
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    yield session.run(None, {"x": np.ones(1, np.float32)})[0].shape[0] - 1000
    yield Parsed(file).network.get_output(0).shape[0] - 1000


def whole(name: str, value: int) -> str:
    return f"{name} = Constant <value = int64[1] {{{value}}}> ()"


def number(name: str, value: float, dtype: str = "float", shape: str = "") -> str:
    return f"{name} = Constant <value = {dtype}{shape} {{{value}}}> ()"


@pytest.mark.parametrize(
    ("body", "onnx", "tensorrt"),
    [
        (f"{whole('a', -3)} v = ReduceL1 <noop_with_empty_axes = 1> (a)", 3, -3),
        (f"{whole('a', -3)} v = ReduceSumSquare <noop_with_empty_axes = 1> (a)", 9, -3),
        (
            f"{number('a', 9.0, shape='[1]')} {number('l', 6.0)} {number('h', 4.0)} c = Clip (a, l, h) v = Cast <to=7> (c)",
            *(4, 6),
        ),
        (
            f"{number('a', 16777217.0, 'double', '[1]')} {number('b', 16777210.0, 'double', '[1]')} c = Sub (a, b) "
            "v = Cast <to=7> (c)",
            *(7, 6),
        ),
        (f"{number('a', 0.0)} {number('b', 0.3)} {number('c', 0.1)} r = Range (a, b, c) v = Shape (r)", 4, 3),
        # And what one might fear, and is right: signs, rounding, wrapping, counting from the end.
        (f"{whole('a', -7)} {whole('b', 2)} v = Div (a, b)", -3, -3),
        (f"{whole('a', -7)} {whole('b', 2)} v = Mod (a, b)", 1, 1),
        (f"{whole('a', -7)} {whole('b', 2)} v = Mod <fmod = 1> (a, b)", -1, -1),
        (f"{number('a', 2.5, shape='[1]')} b = Round (a) v = Cast <to=7> (b)", 2, 2),
        (f"{number('a', -2.7, shape='[1]')} v = Cast <to=7> (a)", -2, -2),
        (f"{whole('a', 4294967299)} b = Cast <to=6> (a) v = Cast <to=7> (b)", 3, 3),
        (f"a = Constant <value = int64[3] {{3, 4, 5}}> () {whole('b', -1)} v = Gather (a, b)", 5, 5),
    ],
)
def test_what_tensorrt_answers(body: str, onnx: int, tensorrt: int, tmp_path: Path) -> None:
    assert list(answers(body, tmp_path / "m.onnx")) == [onnx, tensorrt]
