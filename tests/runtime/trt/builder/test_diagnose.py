"""What a failed build is told as: real refusals of TensorRT-RTX, and what is caught before it is asked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from attn_runtime.errors import EngineError, UsageError
from attn_runtime.onnx_file.graph import read_graph
from attn_runtime.trt import library as flavour
from attn_runtime.trt.builder import network
from attn_runtime.trt.builder.compile import Compiled, compile_engine
from attn_runtime.trt.builder.diagnose import CompilerFailure, clean
from attn_runtime.trt.builder.preflight import check_traps
from attn_runtime.trt.profiles import ShapeTexts
from onnx import TensorProto, helper
from support.tensorrt import misread_graphs as misread
from support.tensorrt import quantised_graphs as quantised
from support.tensorrt import trt_graphs as graphs

pytestmark = pytest.mark.skipif(flavour.why_unavailable("rtx") is not None, reason=str(flavour.why_unavailable("rtx")))
MODULE = r'node "attn" \(Attention, module encoder.attn, /src/net.py:34\)'


def build(file: Path, *shapes: str, **options: Any) -> Compiled:
    low, opt, high = shapes or ("", "", "")
    texts = ShapeTexts((low,), (opt,), (high,)) if shapes else None
    return compile_engine(file, flavour="rtx", profiles=texts, **options)


def failure(file: Path, *shapes: str, **options: Any) -> EngineError:
    """The error of a build, which writes nothing."""
    before = sorted(file.parent.rglob("*"))
    with pytest.raises(EngineError) as caught:
        build(file, *shapes, **options)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 14
    assert sorted(file.parent.rglob("*")) == before
    return caught.value


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"lengths": True, "opset": 24}, "TensorRT ignores its nonpad_kv_seqlen"),
        ({"softcap": 30.0}, r"TensorRT's Attention has no softcap \(here 30.0\)"),
        ({"softmax_precision": 1}, "has no softmax_precision"),
        ({"mask": graphs.HALF, "is_causal": 1}, "takes a mask or is_causal, not both"),
        ({"past": True}, "takes no past keys and values"),
        ({"outputs": 4}, "has one output, this one 4"),
        ({"value_size": 32}, "values of the keys' size, got heads of 32 and 64 elements"),
        ({"mask": graphs.FLOAT}, "needs a mask that is bool or float16, got float32"),
    ],
)
def test_attention_that_does_not_build_is_caught_before(arguments: dict[str, Any], says: str, tmp_path: Path) -> None:
    error = failure(graphs.attention(tmp_path / "m.onnx", **arguments))
    with pytest.raises(EngineError, match=says):  # before the library is asked
        check_traps(read_graph(tmp_path / "m.onnx", "x"), "x")
    assert re.search(rf"^file m.onnx: {MODULE}: .*{says}.*; export again with --opset 22", str(error)), error


def test_every_trap_is_listed(tmp_path: Path) -> None:
    error = failure(graphs.attention(tmp_path / "m.onnx", softcap=2.0, past=True))
    assert "(and 1 more, below)" in str(error) and len(error.details.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "fused"),
    [
        ({}, True),
        ({"softcap": 0.0}, True),
        ({"is_causal": 1}, True),
        ({"mask": TensorProto.BOOL}, True),
        ({"opset": 24}, True),
        ({"dtype": graphs.FLOAT}, False),
        ({"head_size": 8}, False),
        ({"head_size": 320}, False),
    ],
)
def test_attention_that_can_not_fuse_is_taken_apart_and_told(
    arguments: dict[str, Any], fused: bool, tmp_path: Path
) -> None:
    done = build(graphs.attention(tmp_path / "m.onnx", **arguments))
    assert (done.notes == ()) == fused
    if not fused:
        assert re.search(rf"^{MODULE}: no fused kernel takes it", done.notes[0])


def test_without_that_permission_the_library_refuses_it(tmp_path: Path) -> None:
    """So the tests above are of our doing, not of a library that has learnt it."""
    from attn_runtime.trt.builder import network

    file = graphs.attention(tmp_path / "m.onnx", head_size=320)
    refused = network.build(flavour.load("rtx"), file, [{}])
    assert refused.plan is None and "not supported by a dedicated kernel" in " ".join(refused.errors)


def test_operators_that_tensorrt_has_not_are_all_named(tmp_path: Path) -> None:
    nodes = [
        graphs.tell_origin(
            helper.make_node("Frobnicate", ["x"], ["a"], name="frob", domain="my.ops"), "body.frob", "/src/net.py:7"
        ),
        helper.make_node("Det", ["a"], ["y"], name="det"),
    ]
    file = graphs.save(
        tmp_path / "m.onnx", nodes, [graphs.info("x", 1, 4, 8, 8)], [graphs.info("y", 1, 4)], domains=["my.ops"]
    )
    error = failure(file)
    assert (
        'TensorRT can\'t read node "frob" (Frobnicate, module body.frob, /src/net.py:7): this TensorRT has no operator '
        "Frobnicate; change the module, or run the model with --backend ort" in str(error)
    )
    assert [line.split()[1] for line in error.details.splitlines()] == ['"frob"', '"det"']


@pytest.mark.parametrize(
    ("operator", "make", "shapes"),
    [("ScatterElements", misread.scattered, "x:9x4,index:9"), ("ScatterND", misread.scattered_rows, "x:9x4,index:9x1")],
)
def test_a_reduction_is_told_by_its_node(operator: str, make: Any, shapes: str, tmp_path: Path) -> None:
    """Of ScatterElements the parser says neither which node nor which operator."""
    file = make(tmp_path / "m.onnx")
    assert (
        f'can\'t read node "node_y" ({operator}): TensorRT scatters without a reduction; where the grid is small and its '
        "size known, attn-export to-trt writes it otherwise" in str(failure(file, *[shapes] * 3))
    )


@pytest.mark.parametrize(
    ("make", "node", "says"),
    [
        (
            lambda file: quantised.with_activations(file, TensorProto.INT8, zero=3),
            "x_q",
            "its zero point is not 0, and TensorRT takes symmetric quantisation alone; quantise symmetrically",
        ),
        (
            lambda file: quantised.with_activations(file, TensorProto.UINT8, zero=128),
            "x_q",
            "its zero point is not 0, and TensorRT takes symmetric quantisation alone; quantise symmetrically",
        ),
        (
            lambda file: quantised.with_activations(file, TensorProto.INT8, scale=0.0),
            "x_q",
            "a scale is 0, negative or no number; calibrate with inputs that move it",
        ),
        (
            lambda file: quantised.of_weights(file, TensorProto.INT4, block=24),
            "w_dq",
            "Input dimension 0 = 64, scale dimension = 3; take a block that divides the dimension",
        ),
    ],
)
def test_quantisation_that_is_refused(make: Any, node: str, says: str, tmp_path: Path) -> None:
    told = str(failure(make(tmp_path / "m.onnx"), *["x:2x64"] * 3))
    assert f'can\'t read node "{node}"' in told and says in told, told


def test_what_dies_in_the_compiler_is_told_apart(tmp_path: Path) -> None:
    """Another form of the graph may build then, which is no use where it can't be read."""
    died = failure(misread.one_token(tmp_path / "m.onnx"), "x:1x1x32", "x:2x1x32", "x:9x1x32")
    assert isinstance(died, CompilerFailure) and "kqv_gemm_split" in str(died)
    assert not isinstance(failure(misread.scattered(tmp_path / "m.onnx"), *["x:9x4,index:9"] * 3), CompilerFailure)


def test_types_that_do_not_agree(tmp_path: Path) -> None:
    file = graphs.matmul(tmp_path / "m.onnx", np.float16)
    model = onnx.load(file)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
    onnx.save(model, file)
    error = failure(file, *["x:2x64"] * 3)
    assert 'node "product" (MatMul, module encoder.head, /src/net.py:12)' in str(error)
    assert "same input types" in str(error) and "make the types agree" in str(error) and "checkMacros" not in str(error)


def test_an_input_type_that_tensorrt_has_not(tmp_path: Path) -> None:
    sides = [graphs.info("x", TensorProto.UINT16, 4)], [graphs.info("y", TensorProto.UINT16, 4)]
    file = graphs.save(tmp_path / "m.onnx", [helper.make_node("Identity", ["x"], ["y"])], *sides)
    assert "an input has a type that TensorRT has not" in str(failure(file))


def test_a_workspace_too_small_tells_what_is_enough(tmp_path: Path) -> None:
    file = graphs.slow(tmp_path / "m.onnx", 3)
    shapes = ("x:1x8x16x16", "x:2x8x32x32", "x:4x8x64x64")
    needed = build(file, *shapes, save_engine=tmp_path / "free.engine").scratch
    assert needed
    error = failure(file, *shapes, workspace=1024)
    told = re.search(r"a workspace of 1.0 KiB is too small.*Give --workspace (\d+)MiB", str(error))
    assert told and f"{needed / 2**20:.1f} MiB" in str(error)
    assert build(file, *shapes, workspace=int(told[1]) * 2**20).key.workspace == int(told[1]) * 2**20


def test_a_dynamic_input_without_a_profile(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r'input "x" is dynamic .* as in --minShapes x:1x64'):
        build(graphs.matmul(tmp_path / "m.onnx"))


def test_values_that_decide_shapes_are_asked_for(tmp_path: Path) -> None:
    node = helper.make_node("Expand", ["x", "s"], ["y"], name="wide")
    sides = [graphs.info("x", 1, 1, "k"), graphs.info("s", TensorProto.INT64, 2)], [graphs.info("y", 1, "a", "b")]
    file = graphs.save(tmp_path / "m.onnx", [node], *sides)
    shapes = ("x:1x1", "x:1x4", "x:1x8")
    assert 'input "s" decides shapes by its values' in str(failure(file, *shapes))
    done = build(file, "x:1x1,s:2x1", "x:1x4,s:2x4", "x:1x8,s:3x8")
    assert done.key.profiles[0]["s"] == ((2, 1), (2, 4), (3, 8))


def test_values_where_they_decide_nothing_are_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Cast", ["n"], ["f"], to=1), helper.make_node("Mul", ["x", "f"], ["y"])]
    sides = [graphs.info("x", 1, 4), graphs.info("n", TensorProto.INT64)], [graphs.info("y", 1, 4)]
    file = graphs.save(tmp_path / "m.onnx", nodes, *sides)
    assert 'input "n" has shape [], and its values decide no shapes' in str(failure(file, *["x:4,n:3"] * 3))
    build(file)


def test_a_gpu_that_has_no_such_kernel(tmp_path: Path) -> None:
    error = failure(graphs.matmul(tmp_path / "m.onnx"), *["x:2x64"] * 3, capabilities=["7.5"])
    assert 'node "product"' in str(error) and "Turing" in str(error) and "leave 7.5 out" in str(error)


def test_float64_is_told_of(tmp_path: Path) -> None:
    weight = onnx.numpy_helper.from_array(np.ones((64, 4)), "w")
    nodes = [
        helper.make_node("Cast", ["x"], ["d"], to=TensorProto.DOUBLE),
        helper.make_node("MatMul", ["d", "w"], ["e"]),
        helper.make_node("Cast", ["e"], ["y"], to=1),
    ]
    file = graphs.save(tmp_path / "m.onnx", nodes, [graphs.info("x", 1, 2, 64)], [graphs.info("y", 1, 2, 4)], [weight])
    assert build(file).notes == ("TensorRT has no float64: w become float32",)


def test_a_shape_that_the_graph_can_not_take_is_told_of(tmp_path: Path) -> None:
    shape = onnx.numpy_helper.from_array(np.array([3, 8]), "s")
    node = helper.make_node("Reshape", ["x", "s"], ["y"], name="fold")
    file = graphs.save(tmp_path / "m.onnx", [node], [graphs.info("x", 1, "n", 8)], [graphs.info("y", 1, 3, 8)], [shape])
    (note,) = build(file, "x:3x8", "x:3x8", "x:4x8").notes
    assert "kMAX values are not self-consistent" in note and "fold" in note


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "Invalid Node - mm ITensor::getDimensions: Error Code 4: API Usage Error (mm: types differ. In validateTypes "
            "at /_src/optimizer/x.cpp:38) [checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (In y at "
            "/_src/c.cpp:250 (cudaError 35))",
            "mm: types differ",
        ),
        ('softcap == 0.0 && "Setting softcap is not supported."', "Setting softcap is not supported"),
        ("Assertion failed: !hasPastKey: no past", "!hasPastKey: no past"),
        ("ModelImporter.cpp:140: While parsing node number 0", ""),
    ],
)
def test_source_lines_are_left_out(text: str, said: str) -> None:
    assert clean(text) == said


def test_a_profile_that_the_library_refuses_is_no_crash(tmp_path: Path) -> None:
    file = graphs.reshape(tmp_path / "m.onnx")
    falling = {"x": ((1, 64), (2, 64), (4, 64)), "shape": ((4, 64), (2, 64), (1, 64))}
    made = network.build(flavour.load("rtx"), file, [falling])
    assert made.plan is None and "the library refuses the profile" in made.errors[0]
