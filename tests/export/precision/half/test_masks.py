"""Which numbers beyond a type are those of a mask, and how a sum with them is written in half precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from attn_export.precision.half.masks import absorb, constants_beyond, mask_tensors, zero_one_inputs
from onnx import TensorProto, numpy_helper
from safetensors.numpy import save_file

FP16 = 65504.0


def parsed(body: str, given: str = "float[n, 4] x, int64[n, 4] keep") -> onnx.ModelProto:
    return onnx.parser.parse_model(
        f"""<ir_version: 10, opset_import: ["": 22]> g ({given}) => (float[n, 4] y) {{ {body} }}"""
    )


#: (nodes, what of the tensors hold a mask)
FOUND = {
    "added after a product with flags": (
        """one = Constant<value = float {1.0}>()  big = Constant<value = float {-1e9}>()  f = Cast<to = 1>(keep)
        u = Sub(one, f)  m = Mul(u, big)  s = Add(x, m)  y = Softmax(s)""",
        {"big", "m", "s"},
    ),
    "chosen": (
        """big = Constant<value = float {-1e9}>()  b = Cast<to = 9>(keep)  s = Where(b, x, big)
        t = Reshape<allowzero = 0>(s, shape)  y = Softmax(t)""",
        {"big", "s", "t"},
    ),
    "a product with activations": (
        "big = Constant<value = float {1e6}>()  s = Mul(x, big)  y = Softmax(s)",
        set(),
    ),
    "read by something else as well": (
        "big = Constant<value = float {-1e9}>()  s = Add(x, big)  p = Softmax(s)  t = Tanh(s)  y = Add(p, t)",
        set(),
    ),
    "an answer": (
        "big = Constant<value = float {-1e9}>()  y = Add(x, big)  p = Softmax(y)",
        set(),
    ),
    "several numbers": (
        "big = Constant<value = float[4] {-1e9, -2e9, 0.0, 0.0}>()  s = Add(x, big)  y = Softmax(s)",
        set(),
    ),
    "one number in several places": (
        "big = Constant<value = float[4] {-1e9, -1e9, 0.0, 0.0}>()  s = Add(x, big)  y = Softmax(s)",
        {"big", "s"},
    ),
    "no number of this kind": (
        "big = Constant<value = float {-1e4}>()  s = Add(x, big)  y = Softmax(s)",
        set(),
    ),
    "a number that needs no proof": (
        "big = Constant<value = float {-3e38}>()  s = Add(x, big)  y = Softmax(s)",
        set(),
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_a_mask_comes_from_one_constant_and_ends_in_softmaxes(name: str, tmp_path: Path) -> None:
    body, expected = FOUND[name]
    model = parsed(body)
    model.graph.initializer.append(numpy_helper.from_array(np.asarray([-1, 4], np.int64), "shape"))
    constants = constants_beyond(model, tmp_path, FP16)
    made = {"m", "s", "t", "y"} & {n for node in model.graph.node for n in node.output}
    soft = {n.output[0] for n in model.graph.node if n.op_type in ("Softmax", "Tanh")}
    largest = dict.fromkeys(made - soft, 1e9)
    found = mask_tensors(model, constants, lambda n: largest.get(n, constants.get(n, (0.0, True))[0]), FP16)
    assert found == expected


def test_a_float_input_of_zeros_and_ones_is_a_mask(tmp_path: Path) -> None:
    kept = np.asarray([1.0, 0.0, 1.0], np.float32)
    cases = {"a": {"m": kept, "x": kept, "ones": kept**0}, "b": {"m": kept**0, "x": kept / 2, "ones": kept**0}}
    for name, arrays in cases.items():
        save_file(arrays, tmp_path / f"{name}.safetensors")
    files = [tmp_path / f"{name}.safetensors" for name in cases]
    assert zero_one_inputs(files) == {"m"} and zero_one_inputs(files[:1]) == {"m", "x"}
    model = parsed(
        """one = Constant<value = float {1.0}>()  big = Constant<value = float {-1e9}>()  u = Sub(one, m)
        b = Mul(u, big)  s = Add(x, b)  y = Softmax(s)""",
        "float[n, 4] x, float[n, 4] m",
    )
    constants = constants_beyond(model, tmp_path, FP16)

    def reach(name: str) -> float:
        return 1e9 if name in ("b", "s", "big") else 1.0

    assert mask_tensors(model, constants, reach, FP16, {"m"}) == {"big", "b", "s"}
    assert mask_tensors(model, constants, reach, FP16) == set()


def test_constants_beyond_a_type_are_found_where_they_lie(tmp_path: Path) -> None:
    model = parsed("c = Constant<value_float = -1e9>()  s = Add(x, w)  y = Add(s, c)")
    for name, values in (("w", [-7e4, 8e4]), ("fine", [6e4]), ("endless", [-np.inf])):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    bare = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    assert constants_beyond(bare, tmp_path, FP16) == {"w": (8e4, False), "c": (1e9, True)}


def half(body: str, **weights: float) -> onnx.ModelProto:
    given = "float16[n, 4] x, float16[n, 4] m, float16[n, 4] o"
    model = onnx.parser.parse_model(
        f"""<ir_version: 10, opset_import: ["": 22]> g ({given}) => (float16[n, 4] y) {{ {body} }}"""
    )
    for node in model.graph.node:
        node.name = node.output[0]
    for name, value in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.float16), name))
    return model


X = np.asarray([[40.0, -40.0, 3.0, -3.0]], np.float16)
M = np.asarray([[-FP16, -FP16, 0.5, -np.inf]], np.float16)


@pytest.mark.parametrize(
    ("body", "weights", "expected"),
    [
        # What masks is the mask, whatever is added; -inf stays what it is.
        ("y = Add(x, m)", {}, [[-FP16, -FP16, 3.5, -np.inf]]),
        ("y = Add(m, x)", {}, [[-FP16, -FP16, 3.5, -np.inf]]),
        ("y = Sub(m, x)", {}, [[-FP16, -FP16, -2.5, -np.inf]]),
        ("p = Neg(m)  y = Sub(x, p)", {}, [[-FP16, -FP16, 3.5, -np.inf]]),
        # A constant at the type's limit masks, whatever it is called.
        ("y = Add(x, c)", {"c": -FP16}, [[-FP16] * 4]),
    ],
)
def test_what_masks_is_the_mask(tmp_path: Path, body: str, weights: dict[str, float], expected: list[float]) -> None:
    model = absorb(half(body, **weights), tmp_path, {"m", "p"}.__contains__, TensorProto.FLOAT16, FP16)
    assert model is not None
    onnx.checker.check_model(model, full_check=True)
    # Without a rounding between, as in an engine that fuses: the sum is not looked at where it is masked.
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {"x": X, "m": M, "o": X})
    assert np.array_equal(got, np.asarray(expected, np.float16))


def test_sums_of_two_masks_and_sums_without_one_are_left_alone(tmp_path: Path) -> None:
    for body in ("y = Add(x, o)", "y = Add(m, p)", "y = Mul(x, m)", "y = Add(x, c)"):
        model = half(f"p = Neg(m)  {body}", c=-1e4)
        assert absorb(model, tmp_path, {"m", "p"}.__contains__, TensorProto.FLOAT16, FP16) is None


def test_what_masks_is_told_once_for_all_layers(tmp_path: Path) -> None:
    model = absorb(
        half("a = Add(x, m)  b = Softmax(a)  c = Add(b, m)  y = Softmax(c)"), tmp_path, {"m"}.__contains__,
        TensorProto.FLOAT16, FP16,
    )  # fmt: skip
    assert model is not None
    assert [n.op_type for n in model.graph.node] == [
        "Add",
        "LessOrEqual",
        "Where",
        "Softmax",
        "Add",
        "Where",
        "Softmax",
    ]
