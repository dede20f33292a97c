"""Edits of a graph: what goes, what stays, what it is called, and the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from attn_export.precision.quantised import writer as room
from attn_export.precision.quantised.writer import GraphWriter, drop_unread, pack_int4, save, set_opset
from attn_runtime.errors import PassError
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto, helper, numpy_helper
from support.quantised.products import drawn, model, node, ran

W = {"w": drawn(4, 4), "v": drawn(4, 4)}
X = {"x": ["B", 4]}


def weights(graph: onnx.ModelProto) -> list[str]:
    return [t.name for t in graph.graph.initializer]


@given(st.integers(0, 9).flatmap(lambda n: arrays(np.int8, (2, n), elements=st.integers(-8, 7))))
def test_four_bits_are_packed_as_onnx_reads_them(values: np.ndarray) -> None:
    packed = pack_int4(values)
    assert packed.shape == (2, -(-values.shape[1] // 2)) and packed.dtype == np.uint8
    for row, data in zip(values, packed, strict=True):
        tensor = TensorProto(name="t", data_type=TensorProto.INT4, dims=row.shape, raw_data=data.tobytes())
        np.testing.assert_array_equal(numpy_helper.to_array(tensor).astype(np.int8), row)


@pytest.mark.parametrize(
    ("value", "element"),
    [
        (drawn(3, 2), None), (drawn(2, 3).T, None), (np.float16(2.5), None), (np.arange(-7, 8, dtype=np.int8), TensorProto.INT4),
        (np.arange(-8, 8, dtype=np.int8).reshape(4, 4).T, TensorProto.INT4), (np.int8(0), TensorProto.INT8),
        (np.zeros((), np.uint8), TensorProto.FLOAT8E4M3FN),
    ],
)  # fmt: skip
def test_a_weight_is_what_was_given_scalars_and_turned_ones_too(value: Any, element: int | None) -> None:
    made = GraphWriter(model([node("MatMul", ["x", "w"], "y")], X, ["y"], {"w": W["w"]}))
    name = made.weight("new", value, element)
    tensor = made.graph.initializer[-1]
    assert (tensor.name, name) == ("new", "new")
    assert tuple(tensor.dims) == np.shape(value) and (element is None or tensor.data_type == element)
    read = numpy_helper.to_array(tensor)
    assert read.dtype == value.dtype or element is not None
    np.testing.assert_array_equal(read.astype(np.float32), np.asarray(value, np.float32))


def test_a_weight_is_made_once_and_beside_one_of_the_graph_s_own() -> None:
    made = GraphWriter(model([node("MatMul", ["x", "w"], "y")], X, ["y"], {"w": W["w"]}))
    assert not made.has("new") and made.weight("new", np.float32([1])) == "new" and made.has("new")
    assert made.weight("new", np.float32([2])) == "new" and len(made.graph.initializer) == 2
    assert made.weight("w", np.float32([3])) == "w_" and not made.has("w")
    assert numpy_helper.to_array(made.graph.initializer[-1]).tolist() == [3]


def test_names_of_the_graph_are_not_taken_again_those_in_bodies_too() -> None:
    body = helper.make_graph([node("Neg", ["x"], "inner")], "b", [],
                             [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)])  # fmt: skip
    nodes = [node("If", ["is"], "a", then_branch=body, else_branch=body), node("MatMul", ["a", "w"], "y")]
    made = GraphWriter(model(nodes, X, ["y"], {"w": W["w"], "is": np.array(True)}))
    for name in ("x", "w", "is", "a", "y", "inner", "node y", "node inner"):
        assert made.own(name) == made.own(name) == f"{name}_"
    assert made.own("b") == "b"


def test_nodes_come_before_and_in_the_place_of_others_with_what_is_known_of_them() -> None:
    made = GraphWriter(model([node("MatMul", ["x", "w"], "p"), node("Relu", ["p"], "y")], X, ["y"], {"w": W["w"]}))
    product, relu = made.graph.node
    made.before(product, [helper.make_node("Neg", ["x"], ["n"], name="n")])
    made.before(product, [helper.make_node("Abs", ["n"], ["m"], name="m")])
    made.replace(product, [helper.make_node("Mul", ["m", "m"], ["mm"]), helper.make_node("Sqrt", ["mm"], ["p"])])
    done = made.finish()
    assert [n.op_type for n in done.graph.node] == ["Neg", "Abs", "Mul", "Sqrt", "Relu"]
    assert [[p.value for p in n.metadata_props] for n in done.graph.node] == [
        [], [], ["['', 'layers.p']"], ["['', 'layers.p']"], ["['', 'layers.y']"]
    ]  # fmt: skip
    assert weights(done) == []
    onnx.checker.check_model(done, full_check=True)
    np.testing.assert_array_equal(ran(done, x=np.float32([[-2, 3, 0, 1]]))["y"], [[2, 3, 0, 1]])
    assert relu.op_type == "Relu"


def test_what_nobody_reads_goes_with_all_that_led_to_it() -> None:
    nodes = [node("Transpose", ["v"], "t"), node("MatMul", ["x", "t"], "p"), node("Neg", ["p"], "idle"),
             node("MatMul", ["x", "w"], "y")]  # fmt: skip
    made = model(nodes, X, ["y"], {**W, "u": W["w"]})
    drop_unread(made.graph)
    assert [n.name for n in made.graph.node] == ["node y"] and weights(made) == ["w"]


def test_what_a_body_reads_or_an_output_is_stays() -> None:
    inner = helper.make_graph([node("MatMul", ["x", "t"], "inner")], "inner", [],
                              [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)])  # fmt: skip
    outer = helper.make_graph([node("If", ["is"], "o", then_branch=inner, else_branch=inner)], "outer", [],
                              [helper.make_tensor_value_info("o", TensorProto.FLOAT, None)])  # fmt: skip
    passes = helper.make_graph(
        [node("Neg", ["u"], "v2")], "passes", [], [helper.make_tensor_value_info("v2", TensorProto.FLOAT, None)]
    )
    nodes = [node("Transpose", ["v"], "t"), node("Neg", ["w"], "u"),
             node("If", ["is"], "y", then_branch=outer, else_branch=passes)]  # fmt: skip
    made = model(nodes, {"x": [4, 4]}, ["y"], {**W, "k": W["w"], "is": np.array(True)})
    made.graph.output.append(helper.make_tensor_value_info("k", TensorProto.FLOAT, [4, 4]))
    drop_unread(made.graph)
    assert [n.name for n in made.graph.node] == ["node t", "node u", "node y"]
    assert weights(made) == ["w", "v", "k", "is"]


def test_a_node_stays_for_any_one_of_its_outputs() -> None:
    split = helper.make_node("Split", ["x"], ["a", "y"], name="split", axis=1, num_outputs=2)
    made = model([split], X, ["y"], {})
    drop_unread(made.graph)
    assert len(made.graph.node) == 1


def opset(graph: onnx.ModelProto) -> dict[str, int]:
    return {entry.domain: entry.version for entry in graph.opset_import}


def test_an_opset_is_added_or_raised_and_never_lowered() -> None:
    made = model([node("MatMul", ["x", "w"], "y")], X, ["y"], W, opset=18)
    made.ir_version = 8
    set_opset(made, "com.microsoft", 1)
    set_opset(made, "", 17)
    assert opset(made) == {"": 18, "com.microsoft": 1} and made.ir_version == 8
    set_opset(made, "", 21)
    assert opset(made) == {"": 21, "com.microsoft": 1} and made.ir_version == 10
    made.opset_import[0].domain = "ai.onnx"
    set_opset(made, "", 22)
    assert opset(made) == {"ai.onnx": 22, "com.microsoft": 1}


@pytest.mark.parametrize(
    ("old", "written"),
    [
        (17, node("ReduceMean", ["x"], "y", axes=[1])), (12, node("Softmax", ["x"], "y", axis=1)),
        (17, helper.make_node("Split", ["x"], ["y", "z"], name="node y", axis=1)),
    ],
)  # fmt: skip
def test_an_opset_in_which_a_node_means_something_else_is_refused(old: int, written: onnx.NodeProto) -> None:
    made = model([written], X, ["y"], {}, opset=old)
    with pytest.raises(PassError, match=rf"^node node y \({written.op_type}\) of opset {old} is written otherwise in opset "
                       r"21, .*; export with --opset 21 or later$"):  # fmt: skip
        set_opset(made, "", 21)
    assert opset(made) == {"": old}
    body = helper.make_graph([*made.graph.node], "b", [], [*made.graph.output])
    outer = model(
        [node("If", ["is"], "out", then_branch=body, else_branch=body)], X, ["out"], {"is": np.array(True)}, old
    )
    with pytest.raises(PassError, match="node node y"):
        set_opset(outer, "", 21)


def test_nodes_of_other_libraries_are_not_looked_at_when_an_opset_rises() -> None:
    made = model([node("MatMul", ["x", "w"], "y")], X, ["y"], W, opset=18)
    made.graph.node.append(helper.make_node("Anything", ["y"], ["z"], domain="elsewhere"))
    made.opset_import.append(helper.make_opsetid("elsewhere", 1))
    set_opset(made, "", 21)
    assert opset(made)[""] == 21


@pytest.mark.parametrize("beside", [False, True])
def test_weights_lie_beside_the_file_where_the_source_has_them_so_once_however_often_it_is_written(
    beside: bool, tmp_path: Path
) -> None:
    source, target = tmp_path / "from" / "source.onnx", tmp_path / "to" / "made.onnx"
    source.parent.mkdir()
    target.parent.mkdir()
    nodes = [node("MatMul", ["x", "w"], "h"), node("MatMul", ["h", "v"], "y")]
    made = model(nodes, {"x": ["B", 64]}, ["y"], {"w": drawn(64, 64), "v": drawn(64, 64, seed=2)})
    x = drawn(3, 64, seed=1)
    expected = ran(made, x=x)["y"]
    onnx.save(made, source, save_as_external_data=beside, location="weights", size_threshold=0)
    for _ in range(2):
        read = onnx.load(source, load_external_data=False)
        # One that was made meanwhile, as rounded weights are.
        read.graph.initializer[1].CopyFrom(numpy_helper.from_array(drawn(64, 64, seed=2), "v"))
        save(read, source.parent, target)
    data = target.with_name("made.onnx.data")
    assert data.exists() == beside and (not beside or data.stat().st_size == 2 * 4 * 64 * 64)
    assert (target.stat().st_size < 1000) == beside
    for file in source.parent.iterdir():
        file.unlink()
    np.testing.assert_array_equal(ran(target, x=x)["y"], expected)


def test_a_file_that_became_small_leaves_no_data_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = model([node("MatMul", ["x", "w"], "y")], {"x": ["B", 64]}, ["y"], {"w": drawn(64, 64)})
    with monkeypatch.context() as patch:
        patch.setattr(room, "EXTERNAL_FROM_BYTES", 1)
        save(onnx.ModelProto.FromString(made.SerializeToString()), tmp_path, tmp_path / "m.onnx")
    assert len([*tmp_path.iterdir()]) == 2
    save(made, tmp_path, tmp_path / "m.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
